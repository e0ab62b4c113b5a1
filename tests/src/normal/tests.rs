use super::*;

#[test]
fn dates_and_disk_sizes_are_forgiven() {
    assert_eq!(
        normalise("1  a  0 B 2026-11-23 00:43:01  0000:00:00.000  0\ndisk size: 196 KiB\n"),
        "1  a  0 B DATE  0000:00:00.000  0\ndisk size: *\n"
    );
    assert_eq!(
        normalise("    \"actual-size\": 123,\n"),
        "    \"actual-size\": *,\n"
    );
}

#[test]
fn virtual_sizes_are_not_forgiven() {
    let text = "virtual size: 1 GiB (1073741824 bytes)\n";
    assert_eq!(normalise(text), text);
}

#[test]
fn a_difference_shows_both_lines() {
    let shown = difference("a\nb\n", "a\nc\n").expect("they differ");
    assert!(shown.contains("- b") && shown.contains("+ c"), "{shown}");
    assert!(difference("a", "a\n").is_some());
    assert_eq!(difference("a", "a"), None);
}

#[test]
fn node_numbers_are_forgiven() {
    assert_eq!(normalise("in '#block143': no\n"), "in '#block*': no\n");
}
