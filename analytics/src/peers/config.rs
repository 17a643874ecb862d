//! What standing apart means: thresholds, guards and memory, with the reason for each default.

use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

/// How siblings are compared. All times are in seconds of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersConfig {
    /// Half-width of the band around a member's expectation, in σ of the siblings or of its own usual error, whichever is larger: at its
    /// edge the score is 1. Default 5, as for a single series.
    pub threshold_sigmas: f64,
    /// The band is at least this share of the expectation, and of the group's usual level, to each side. Default 0.1: siblings that
    /// differ by a tenth do the same work, and what differs while all are idle is not work.
    pub band_relative_min: f64,
    /// The band is at least this wide to each side, in the metric's unit. Default 1e-6: below it are rounding errors.
    pub band_absolute_min: f64,
    /// Members that must have a value in a window. Default 5: among fewer, one that is off cannot be told from one that is right.
    pub members_min: u32,
    /// The largest share of members that can stand apart. Default 0.25: what more than a quarter do is a change of the group (a new
    /// version rolled out, a rack lost), not of a member. One member may always stand apart.
    pub apart_max: f64,
    /// How long a member must stand apart, in all its windows, before it is told. Default 300: a job, a restart or a garbage collection
    /// is over by then.
    pub persist_s: f64,
    /// How long a group is watched before anything is told. Default 1800; also how long a newcomer is compared with the siblings as they
    /// differ among themselves, before it is believed to have a place of its own.
    pub warm_up_s: f64,
    /// After an announcement, silence about this member for this long. Default 3600: one story is told once.
    pub rest_s: f64,
    /// How often a member may cry wolf in the long run, times in 30 days: each story widens its band by 25 %, and it narrows again at
    /// this rate. Default 2.
    pub alarms_per_month: f64,
    /// A new place among the siblings becomes the usual one once it has lasted this long. Default 21,600: six hours are a shift of
    /// people who have been told.
    pub accept_s: f64,
    /// What was learned this long ago weighs half. Default 86,400: a place is a property of a machine, not of an hour.
    pub half_life_s: f64,
    /// A member is forgotten after this silence. Default 86,400.
    pub forget_s: f64,
}

impl Default for PeersConfig {
    fn default() -> Self {
        PeersConfig {
            threshold_sigmas: 5.0,
            band_relative_min: 0.1,
            band_absolute_min: 1e-6,
            members_min: 5,
            apart_max: 0.25,
            persist_s: 300.0,
            warm_up_s: 1800.0,
            rest_s: 3600.0,
            alarms_per_month: 2.0,
            accept_s: 21_600.0,
            half_life_s: 86_400.0,
            forget_s: 86_400.0,
        }
    }
}

/// A setting that siblings can't be compared with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("setting `{setting}` of peers is {found}; expected a number from {least} to {most}")]
pub struct PeersConfigError {
    /// The field's name.
    pub setting: &'static str,
    /// Its value.
    pub found: f64,
    /// The smallest value taken.
    pub least: f64,
    /// The largest value taken.
    pub most: f64,
}

impl HasFault for PeersConfigError {
    fn fault(&self) -> Fault {
        Fault::BadConfig
    }
}

impl HasCode for PeersConfigError {
    fn code(&self) -> &'static ErrorCode {
        &crate::error_codes::PEERS_SETTING
    }
}

impl PeersConfig {
    /// Checks every number once, at the door.
    ///
    /// # Errors
    /// [`PeersConfigError`] (refuse to start) names the setting that is out of range.
    pub fn validate(&self) -> Result<(), PeersConfigError> {
        let year = 366.0 * 86_400.0;
        let checks = [
            ("threshold_sigmas", self.threshold_sigmas, 0.1, 1e3),
            ("band_relative_min", self.band_relative_min, 0.0, 10.0),
            ("band_absolute_min", self.band_absolute_min, 1e-30, 1e30),
            ("members_min", f64::from(self.members_min), 3.0, 10_000.0),
            ("apart_max", self.apart_max, 0.0, 0.5),
            ("persist_s", self.persist_s, 0.0, year),
            ("warm_up_s", self.warm_up_s, 0.0, year),
            ("rest_s", self.rest_s, 0.0, year),
            ("alarms_per_month", self.alarms_per_month, 0.0, 1e7),
            ("accept_s", self.accept_s, 60.0, year),
            ("half_life_s", self.half_life_s, 60.0, year),
            ("forget_s", self.forget_s, 60.0, 10.0 * year),
        ];
        for (setting, found, least, most) in checks {
            // `contains` is false for NaN.
            if !(least..=most).contains(&found) {
                return Err(PeersConfigError {
                    setting,
                    found,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}
