//! A template, what to strip, and a path, in lines: whatever is put into a URL, it stays on its host and reads as
//! one URL.

use percent_encoding::percent_decode_str;
use purgehook::changes::{ChangeKind, FilePath};
use purgehook::rules::{BaseUrl, Glob, Rule, Rules, Template};
use url::Url;

const BASES: [&str; 3] = [
    "https://www.example.com",
    "http://127.0.0.1:8080/docs",
    "https://bücher.example/%7Ea",
];

pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(template), Some(strip), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let (Ok(template), Ok(strip)) = (std::str::from_utf8(template), std::str::from_utf8(strip))
    else {
        return;
    };
    let bases: Vec<BaseUrl> = BASES
        .iter()
        .map(|base| BaseUrl::parse(base).expect("a base URL"))
        .collect();
    let urls = Template::parse(template, &bases, &[]);
    let directories = Template::parse_directory(template, &bases, &[]);
    let whole = Template::parse("/{path}", &bases, &[]).expect("a template");
    let rule = Rule {
        matches: vec![Glob::parse("**").expect("a glob")],
        strip: strip.to_owned(),
        urls: [Some(whole), urls.ok()].into_iter().flatten().collect(),
        directories: directories.into_iter().collect(),
        ..Rule::default()
    };
    let rules = Rules::new(bases, Vec::new(), vec![rule]);

    let path = FilePath::new(path);
    let mapped = rules.targets(&path, ChangeKind::Modified);

    for target in &mapped.targets {
        check_url(&target.url, rules.base_urls());
    }
    // `{path}` on the first base: what is read back is what was put in.
    let stripped = path
        .as_bytes()
        .strip_prefix(strip.as_bytes())
        .unwrap_or(path.as_bytes());
    if let Some(first) = mapped.targets.first().filter(|target| {
        let clean = !stripped.split(|byte| *byte == b'/').any(<[u8]>::is_empty);
        let filled = !mapped
            .unmappable
            .iter()
            .any(|each| each.template == "/{path}");
        clean && filled && target.url.starts_with(BASES[0])
    }) {
        let tail = first.url.strip_prefix("https://www.example.com/");
        let read: Vec<u8> = percent_decode_str(tail.expect("a path")).collect();
        assert_eq!(read, stripped, "{}", first.url);
    }
}

/// Panics unless `url` is one URL below one of the bases' hosts, in the spelling that browsers ask for.
pub fn check_url(url: &str, bases: &[BaseUrl]) {
    let parsed = Url::parse(url).unwrap_or_else(|error| panic!("{url:?}: {error}"));
    assert_eq!(parsed.as_str(), url, "another spelling");
    let origin = parsed.origin().ascii_serialization();
    assert!(
        bases.iter().any(|base| base.origin() == origin),
        "{url} is on no base URL's host"
    );
    assert!(url.starts_with(&origin), "{url}");
    assert!(parsed.username().is_empty() && parsed.password().is_none());
    assert!(parsed.fragment().is_none(), "{url}");
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    for segment in parsed.path().split('/') {
        let plain: Vec<u8> = percent_decode_str(segment).collect();
        assert!(!matches!(plain.as_slice(), b"." | b".."), "{url}");
    }
}
