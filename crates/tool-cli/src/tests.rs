use super::*;

const SHEET: Sheet = Sheet {
    version: "1",
    about: "Does nothing",
    examples: "{prog} x",
    groups: &[
        Group {
            title: "Options",
            entries: &[
                with('f', "format", "FMT", "a format"),
                flag('r', "read-only", "for reading"),
            ],
        },
        Group {
            title: "Others",
            entries: &[
                long_with("object", "DEF", "an object"),
                long_flag("json", ""),
            ],
        },
    ],
    file: "the image",
};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn requests_are_two_words() {
    assert_eq!(Request::read(&words("man DIR")), Some(Request::Man("DIR")));
    let asked = words("completion zsh");
    assert_eq!(Request::read(&asked), Some(Request::Completion("zsh")));
    for other in ["", "man", "man a b", "page DIR"] {
        assert_eq!(Request::read(&words(other)), None, "{other}");
    }
}

#[test]
fn a_table_is_a_definition_that_clap_takes() {
    SHEET.whole().debug_assert();
    let given = [
        "x",
        "-f",
        "raw",
        "--object=a",
        "--object",
        "b",
        "-r",
        "image",
    ];
    let read = SHEET.whole().try_get_matches_from(given).unwrap();
    assert_eq!(read.get_many::<String>("object").unwrap().count(), 2);
    assert!(read.get_flag("read-only") && !read.get_flag("json"));
}

#[test]
fn shells_without_completions_are_refused() {
    let error = generate(&words("completion tcsh"), SHEET.whole()).unwrap_err();
    assert_eq!(error.message(), "No completions for shell 'tcsh'");
    let error = generate(&words("page"), SHEET.whole()).unwrap_err();
    assert!(error.message().starts_with("Expecting '"));
}
