use super::*;

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("local files are always ready"),
    }
}

fn file(len: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

fn open(layer: Layer<'_>) -> qapi::Result<Arc<Root>> {
    now(Session::new(&[]).open(layer, Flags::default()))
}

#[test]
fn names_options_and_json_open_the_same_disk() {
    let file = file(1 << 20);
    let path = file.path().to_str().unwrap();
    let json = format!(
        "json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{path}\"}}}}"
    );
    let options = format!("driver=raw,file.driver=file,file.filename={path}");
    let short = format!("file.filename={path}");
    for layer in [
        Layer::Name(path, None),
        Layer::Name(path, Some("raw")),
        Layer::Name(&json, None),
        Layer::Options(&options),
        Layer::Options(&short),
    ] {
        let root = open(layer).unwrap();
        assert_eq!(root.length().unwrap(), 1 << 20);
        assert_eq!(root.node().driver(), "raw");
        assert_eq!(root.node().filename(), path);
    }
}

#[test]
fn unknown_drivers_and_options_are_refused() {
    let file = file(512);
    let path = file.path().to_str().unwrap();
    let message = |layer| open(layer).err().unwrap().message().to_owned();
    assert_eq!(
        message(Layer::Name(path, Some("foo"))),
        "Unknown driver 'foo'"
    );
    let odd = format!("driver=raw,foo=1,file.filename={path}");
    let expected = "Block format 'raw' does not support the option 'foo'";
    assert_eq!(message(Layer::Options(&odd)), expected);
    assert_eq!(
        message(Layer::Name("json:{}", None)),
        "Must specify either driver or file"
    );
}

#[test]
fn a_missing_file_is_told_by_its_name() {
    let error = open(Layer::Name("/nonexistent/x", None)).err().unwrap();
    let expected = "Could not open '/nonexistent/x': No such file or directory";
    assert_eq!(error.message(), expected);
}
