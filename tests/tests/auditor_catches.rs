//! The auditor is itself audited: it passes a valid archive and catches every kind of damage that `test_auditor.py` seeds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
fn the_auditor_catches_every_seeded_corruption() {
    if !tests::audit::is_available("auditor_catches") {
        return;
    }
    let output = Command::new(tests::python::venv::interpreter().unwrap())
        .args(["-B", "-m", "unittest", "auditor.test_auditor"])
        .current_dir(tests::repository().join("tests"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("\nRan "), "{said}");
}
