//! The harness itself.

use house_tests::Scratch;

#[test]
fn a_scratch_folder_goes_away() {
    let scratch = Scratch::new();
    let dir = scratch.dir().to_owned();
    drop(scratch);
    assert!(!dir.exists());
}
