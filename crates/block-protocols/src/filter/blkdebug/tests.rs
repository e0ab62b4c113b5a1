use qapi::{Dict, Value};

use super::plain_name;

#[test]
fn a_number_as_config_is_part_of_the_name() {
    let name = |config: Value| {
        let mut options = Dict::new();
        options.insert("config", config);
        plain_name(&options, &["null-co://"])
    };
    for (config, text) in [
        (Value::from(42_i64), "42"),
        (Value::from("a.conf"), "a.conf"),
    ] {
        let wanted = format!("blkdebug:{text}:null-co://");
        assert_eq!(name(config), Some(wanted));
    }
    assert_eq!(name(Value::from(true)), None);
}
