//! Forecasts of series and pools in the stream: scheduled, scored, the same after a restart and in any records.
