//! The meaning of the CDNs' error codes: one table per vendor, with exact codes before families.
//!
//! A code that is in no table is classified by its family (the part before the first dot). If the family is unknown
//! too, a person has to act.

use super::ErrorClass::{self, BadInput, Migrated, Operator, QuotaDay, RateLimited, Retry, Split};

/// A vendor's error codes and their classes.
pub struct ErrorTable {
    /// Codes by class.
    codes: &'static [(ErrorClass, &'static [&'static str])],
    /// The classes of code families, for codes that are not in `codes`.
    families: &'static [(ErrorClass, &'static [&'static str])],
}

impl ErrorTable {
    /// The class of a code.
    pub fn class(&self, code: &str) -> ErrorClass {
        let family = code.split('.').next().unwrap_or(code);
        self.listed(code)
            .or_else(|| find(self.families, family))
            .unwrap_or(Operator)
    }

    /// The class of a code, if the code itself is listed.
    pub fn listed(&self, code: &str) -> Option<ErrorClass> {
        find(self.codes, code)
    }
}

fn find(table: &[(ErrorClass, &[&str])], code: &str) -> Option<ErrorClass> {
    table
        .iter()
        .find(|(_, codes)| codes.contains(&code))
        .map(|(class, _)| *class)
}

/// Tencent Cloud API 3.0: the error lists of CDN 2018-06-06 (SDK 3.1.169) and ECDN 2019-10-12 (SDK 3.0.1300) and
/// the common list. Only codes whose class differs from their family's are listed.
pub const TENCENT: ErrorTable = ErrorTable {
    codes: &[
        (
            Retry,
            &[
                // Named InvalidParameter, described as an internal API error.
                "InvalidParameter.CdnInterfaceError",
                "InvalidParameter.EcdnInterfaceError",
                // Named UnauthorizedOperation, described as "unknown error, try later".
                "UnauthorizedOperation.Unknown",
                "ResourceInsufficient",
                "ServiceUnavailable",
            ],
        ),
        (
            RateLimited,
            &[
                // Does not say which limit; longer names are below.
                "LimitExceeded",
                "LimitExceeded.CdnCallingQueryIpTooOften",
                "LimitExceeded.CdnHostOpTooOften",
                "LimitExceeded.EcdnDomainOpTooOften",
                // Named UnauthorizedOperation, described as too many calls.
                "UnauthorizedOperation.OperationTooOften",
            ],
        ),
        (
            QuotaDay,
            &[
                "LimitExceeded.CdnPurgeExceedDayLimit",
                "LimitExceeded.CdnPurgePathExceedDayLimit",
                "LimitExceeded.CdnPurgeUrlExceedDayLimit",
                "LimitExceeded.CdnPushExceedDayLimit",
                "LimitExceeded.EcdnPurgePathExceedDayLimit",
                "LimitExceeded.EcdnPurgeUrlExceedDayLimit",
            ],
        ),
        (
            Split,
            &[
                "LimitExceeded.CdnPurgeExceedBatchLimit",
                "LimitExceeded.CdnPurgePathExceedBatchLimit",
                "LimitExceeded.CdnPurgeUrlExceedBatchLimit",
                "LimitExceeded.CdnPushExceedBatchLimit",
                "LimitExceeded.EcdnPurgePathExceedBatchLimit",
                "LimitExceeded.EcdnPurgeUrlExceedBatchLimit",
                "RequestSizeLimitExceeded",
                "ResponseSizeLimitExceeded",
            ],
        ),
        (
            Operator,
            &[
                // Named InvalidParameter, but the request is at fault, not a target.
                "InvalidParameter.CdnStatInvalidDate",
                "InvalidParameter.CdnStatInvalidMetric",
                "InvalidParameter.CdnStatInvalidProjectId",
                "InvalidParameter.EcdnStatInvalidDate",
                // Named Resource..., but the account or the domain is at fault.
                "ResourceNotFound.CdnProjectNotExists",
                "ResourceNotFound.CdnUserNotExists",
                "ResourceNotFound.EcdnUserNotExists",
                "ResourceUnavailable.CdnHostIsLocked",
                "ResourceUnavailable.CdnHostIsMalicious",
                "ResourceUnavailable.CheckUserHighRisk",
                "ResourceUnavailable.EcdnDomainIsLocked",
            ],
        ),
        (
            Migrated,
            &[
                // ECDN, or one action of it, was merged into CDN.
                "ActionOffline",
                "UnauthorizedOperation.EcdnMigratedCdn",
                // The domain or the account has moved to EdgeOne, or is moving.
                "InvalidParameter.CdnHostExistsInEdgeOne",
                "OperationDenied.ProductUpdating",
                "OperationDenied.ProductUpgraded",
                "OperationDenied.UserMigrating",
                // The domain is still on ECDN.
                "ResourceUnavailable.CdnHostExistsInDsa",
            ],
        ),
    ],
    families: &[
        (
            Retry,
            &["FailedOperation", "InternalError", "ResourceInUse"],
        ),
        (RateLimited, &["RequestLimitExceeded"]),
        (
            BadInput,
            &[
                "InvalidParameter",
                "InvalidParameterValue",
                "ResourceNotFound",
                "ResourceUnavailable",
            ],
        ),
        (
            Operator,
            &[
                "AuthFailure",
                "InvalidAction",
                "InvalidRequest",
                "IpInBlacklist",
                "IpNotInWhitelist",
                "LimitExceeded",
                "MissingParameter",
                "NoSuchProduct",
                "NoSuchVersion",
                "OperationDenied",
                "UnauthorizedOperation",
                "UnknownParameter",
                "UnsupportedOperation",
                "UnsupportedProtocol",
                "UnsupportedRegion",
            ],
        ),
    ],
};

/// `QCloud` API 2.0: the common codes (document 228/5078) and the CDN module's, which are in `codeDesc` or in front
/// of the message, as `(9110)`.
pub const QCLOUD: ErrorTable = ErrorTable {
    codes: &[
        (
            Retry,
            &[
                "5100", "6000", // the operation or the server failed
                // A timestamp or nonce that was used before; the next request has fresh ones.
                "4500", // the module: system, timeout, database, system, COS
                "9000", "-9011", "-9014", "-9015", "-9021",
            ],
        ),
        // No code for the daily limits is known; this one may also stand for them.
        (RateLimited, &["4400"]),
        (
            Operator,
            &["1001", "1002", "4100", "4200", "4300", "4600", "5500"],
        ),
        (
            BadInput,
            &[
                // Parameters; a resource that does not exist; done in part.
                "4000", "5000", "5400", // the module: parameter, domain, no record
                "9003", "9105", "9107", "9110", "-9009",
            ],
        ),
        // API 2.0 was closed on 2022-11-30.
        (Migrated, &["6100", "6200"]),
    ],
    families: &[],
};

/// Huawei Cloud CDN (error codes page) and its API gateway, whose codes start with `APIGW.` or `APIG.`.
pub const HUAWEI: ErrorTable = ErrorTable {
    codes: &[
        (Retry, &["CDN.0000", "APIGW.0201", "APIGW.0602"]),
        (RateLimited, &["APIGW.0308"]),
        // Over a limit, of a batch or of a day: the code does not say which, so the quota is asked.
        (QuotaDay, &["CDN.0110"]),
        (
            Operator,
            &[
                "CDN.0002",
                "CDN.0004",
                "CDN.0005",
                "CDN.0020",
                "CDN.0021",
                "CDN.0114",
                "CDN.0115",
                "CDN.0116",
                "CDN.0120",
                "CDN.0163",
                "CDN.0202",
                "APIGW.0101",
                // Retrying does harm: several wrong signatures in a row lock the access key.
                "APIGW.0301",
                "APIGW.0302",
                "APIGW.0303",
                "APIGW.0307",
                "APIGW.0402",
            ],
        ),
        (
            BadInput,
            &[
                "CDN.0001", "CDN.0003", "CDN.0015", "CDN.0016", "CDN.0105", "CDN.0106", "CDN.0108",
                "CDN.0127", "CDN.0145", "CDN.0170", "CDN.0201",
            ],
        ),
    ],
    families: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codes_own_line_goes_before_its_family() {
        let class = |code| TENCENT.class(code);

        assert_eq!(class("InvalidParameter.CdnParamError"), BadInput);
        assert_eq!(class("InvalidParameter.CdnInterfaceError"), Retry);
        assert_eq!(class("UnauthorizedOperation.CdnUserAuthFail"), Operator);
        assert_eq!(
            class("UnauthorizedOperation.OperationTooOften"),
            RateLimited
        );
        assert_eq!(class("UnauthorizedOperation.EcdnMigratedCdn"), Migrated);
        assert_eq!(class("LimitExceeded"), RateLimited);
        assert_eq!(class("LimitExceeded.CdnPurgeUrlExceedDayLimit"), QuotaDay);
        assert_eq!(class("LimitExceeded.EcdnPurgeUrlExceedBatchLimit"), Split);
    }

    #[test]
    fn an_unlisted_code_is_judged_by_its_family() {
        let class = |code| TENCENT.class(code);

        assert_eq!(class("InternalError.NeverHeardOf"), Retry);
        assert_eq!(class("RequestLimitExceeded.UinLimitExceeded"), RateLimited);
        assert_eq!(class("LimitExceeded.CdnUserTooManyHosts"), Operator);
        assert_eq!(class("ResourceNotFound.CdnHostNotExists"), BadInput);
    }

    #[test]
    fn a_code_of_no_family_needs_a_person() {
        assert_eq!(TENCENT.class("Surprise.Surprise"), Operator);
        assert_eq!(TENCENT.class(""), Operator);
    }

    #[test]
    fn no_code_is_listed_twice() {
        for table in [&TENCENT, &QCLOUD, &HUAWEI] {
            let mut codes: Vec<&str> = table
                .codes
                .iter()
                .flat_map(|(_, codes)| *codes)
                .copied()
                .collect();
            let listed = codes.len();
            codes.sort_unstable();
            codes.dedup();

            assert_eq!(codes.len(), listed);
        }
    }
}
