//! Benches of the hot stages and of the whole path; nothing to import. `docs/performance.md` holds what was measured.
