use super::*;

const TYPES: &[ObjectType] = &[ObjectType {
    name: "word",
    make: |options, _| {
        let text = opts::take_str(options, "text")?.ok_or_else(|| missing("text"))?;
        Ok(Arc::new(text))
    },
}];

fn refusal(text: &str) -> String {
    let error = Objects::of(&[TYPES]).add(text).unwrap_err();
    error.message().to_owned()
}

#[test]
fn objects_are_found_by_id_and_type() {
    let objects = Objects::of(&[TYPES]);
    objects.add("word,id=a,text=x").unwrap();
    objects
        .add("{'qom-type': 'word', 'id': 'b', 'text': 'y'}")
        .unwrap();
    assert_eq!(*objects.get::<String>("a").unwrap(), "x");
    assert_eq!(*objects.get::<String>("b").unwrap(), "y");
    assert!(objects.get::<u32>("a").is_none());
    assert!(objects.find("c").is_none());
    let twice = objects.add("word,id=a,text=z").unwrap_err();
    assert_eq!(
        twice.message(),
        "attempt to add duplicate property 'a' to object (type 'container')"
    );
}

#[test]
fn refusals_are_in_known_words() {
    assert_eq!(refusal(""), "Parameter 'qom-type' is missing");
    assert_eq!(
        refusal("foo,id=x"),
        "Parameter 'qom-type' does not accept value 'foo'"
    );
    assert_eq!(refusal("word"), "Parameter 'id' is missing");
    assert_eq!(
        refusal("word,id=1,text=a"),
        "Parameter 'id' expects an identifier"
    );
    assert_eq!(
        refusal("word,id=x,text=a,more=b"),
        "Parameter 'more' is unexpected"
    );
    assert_eq!(refusal("word,id=x"), "Parameter 'text' is missing");
}
