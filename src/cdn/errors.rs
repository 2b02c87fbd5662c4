//! What the CDNs' error codes mean: one table a vendor, exact codes before families.
//!
//! A code that is in no table is judged by its family (what stands before the
//! first dot); one whose family is unknown too needs a person.

use super::ErrorClass::{self, BadInput, Migrated, Operator, QuotaDay, RateLimited, Retry, Split};

/// A vendor's error codes.
pub struct ErrorTable {
    /// Codes, by what they mean.
    codes: &'static [(ErrorClass, &'static [&'static str])],
    /// What the codes of a family mean where they are not in `codes`.
    families: &'static [(ErrorClass, &'static [&'static str])],
}

impl ErrorTable {
    /// What a code means.
    pub fn class(&self, code: &str) -> ErrorClass {
        let family = code.split('.').next().unwrap_or(code);
        let listed = |table: &[(ErrorClass, &[&str])], code| {
            table
                .iter()
                .find(|(_, codes)| codes.contains(&code))
                .map(|(class, _)| *class)
        };
        listed(self.codes, code)
            .or_else(|| listed(self.families, family))
            .unwrap_or(Operator)
    }
}

/// Tencent Cloud API 3.0: the error lists of CDN 2018-06-06 (SDK 3.1.169) and ECDN 2019-10-12
/// (SDK 3.0.1300) and the common list. Only codes that differ from their family are listed.
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
                // Says nothing of which limit; those that have a longer name are below.
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
                // Named InvalidParameter, but the fault is the request's, not a target's.
                "InvalidParameter.CdnStatInvalidDate",
                "InvalidParameter.CdnStatInvalidMetric",
                "InvalidParameter.CdnStatInvalidProjectId",
                "InvalidParameter.EcdnStatInvalidDate",
                // Named Resource..., but it is the account or the domain that is at fault.
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
                // The domain or the account is at EdgeOne, or on its way there.
                "InvalidParameter.CdnHostExistsInEdgeOne",
                "OperationDenied.ProductUpdating",
                "OperationDenied.ProductUpgraded",
                "OperationDenied.UserMigrating",
                // The domain is still at ECDN.
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
        for table in [&TENCENT] {
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
