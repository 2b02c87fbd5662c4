//! The input of every action, and its answer.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::account::{Account, Area};
use super::Product;
use super::parameters::Parameters;
use super::signature::Refused;

/// The fields of an answer.
pub(super) type Fields = Map<String, Value>;

/// What an action works on.
pub(super) struct Desk<'a> {
    pub account: &'a mut Account,
    pub product: Product,
    pub now: Timestamp,
}

impl Desk<'_> {
    /// The parameters that only the CDN has: where, and whether non-ASCII characters are the service's to encode.
    pub fn place(&self, parameters: &mut Parameters) -> Result<(Option<Area>, bool), Refused> {
        match self.product {
            Product::Ecdn => Ok((None, false)),
            Product::Cdn => {
                let area = parameters.word("Area", &["mainland", "overseas"])?;
                let encoded = parameters.flag("UrlEncode")?.unwrap_or(false);
                Ok((area.as_deref().and_then(|area| area.parse().ok()), encoded))
            }
        }
    }
}

/// The refusal of a parameter.
pub(super) fn bad(message: impl Into<String>) -> Refused {
    Refused::new("InvalidParameter.CdnParamError", message)
}
