//! What a forest must do, whatever it is given.
