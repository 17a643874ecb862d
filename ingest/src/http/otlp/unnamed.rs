//! Why a data point has no series.

use schemas::LabelsError;

use super::super::refusal::{Malformed, Undecodable};
use crate::door::Reason;

/// Why there is no series.
#[derive(Debug)]
pub(super) enum Unnamed {
    /// The data point can't be taken; others can.
    Refused(Reason),
    /// The body is no request.
    Malformed(Malformed),
}

impl From<Reason> for Unnamed {
    fn from(reason: Reason) -> Self {
        Unnamed::Refused(reason)
    }
}

impl From<LabelsError> for Unnamed {
    fn from(error: LabelsError) -> Self {
        Unnamed::Refused(error.into())
    }
}

impl From<Malformed> for Unnamed {
    fn from(malformed: Malformed) -> Self {
        Unnamed::Malformed(malformed)
    }
}

impl Unnamed {
    /// The reason for which a data point is refused, or the error that ends the request.
    pub(super) fn reason(self) -> Result<Reason, Undecodable> {
        match self {
            Unnamed::Refused(reason) => Ok(reason),
            Unnamed::Malformed(malformed) => Err(malformed.into()),
        }
    }
}
