//! Recognises the output of other commands. Its lines are not paths; taken as paths they would silently purge
//! nothing.

/// Lines to examine: a command's output shows at its beginning, and a list may be long.
const MOST_LINES: usize = 1_000;

/// The command that printed a text, and the number (from 1) of the line that shows it; none if its lines may be
/// paths.
pub(super) fn printed_by(input: &[u8]) -> Option<(usize, &'static str)> {
    let lines = input.split(|b| *b == b'\n').take(MOST_LINES).enumerate();
    let lines = lines
        .map(|(index, line)| (index + 1, line.strip_suffix(b"\r").unwrap_or(line)))
        // A quoted line is a path, whatever it looks like.
        .filter(|(_, line)| !line.is_empty() && line.first() != Some(&b'"'));
    let (mut count, mut hints) = (0, 0);
    let mut first_hint = None;
    for (number, line) in lines {
        if let Some(command) = plainly(line) {
            return Some((number, command));
        }
        count += 1;
        if let Some((command, is_sure)) = hinted(line) {
            if is_sure {
                return Some((number, command));
            }
            hints += 1;
            first_hint.get_or_insert((number, command));
        }
    }
    // A single path may begin with a letter and a blank, but hardly all of them.
    first_hint.filter(|_| count > 1 && hints == count)
}

const STATUS: &str = "`git status`";
const SHORT_STATUS: &str = "`git status --porcelain` or `--short`";
const LOG: &str = "`git log` or `git show`";
const PATCH: &str = "`git diff` without --name-status";
const STAT: &str = "`git diff --stat`";

/// Beginnings of lines, and the command that prints them.
const BEGINNINGS: [(&str, &str); 36] = [
    ("diff --git ", PATCH),
    ("@@ -", PATCH),
    ("+++ ", PATCH),
    ("--- ", PATCH),
    (" create mode ", "`git diff --summary`"),
    (" delete mode ", "`git diff --summary`"),
    ("On branch ", STATUS),
    ("HEAD detached ", STATUS),
    ("Your branch is ", STATUS),
    ("Changes to be committed:", STATUS),
    ("Changes not staged for commit:", STATUS),
    ("Untracked files:", STATUS),
    ("nothing to commit", STATUS),
    ("\tmodified: ", STATUS),
    ("\tnew file: ", STATUS),
    ("\tdeleted: ", STATUS),
    ("\trenamed: ", STATUS),
    ("\ttypechange: ", STATUS),
    ("\tboth modified: ", STATUS),
    ("## ", SHORT_STATUS),
    ("# branch.", SHORT_STATUS),
    ("?? ", SHORT_STATUS),
    ("!! ", SHORT_STATUS),
    ("Author: ", LOG),
    ("Date:   ", LOG),
    ("├── ", "`tree`"),
    ("└── ", "`tree`"),
    ("│", "`tree`"),
    ("Only in ", "`diff --brief`"),
    ("{\"", "a command that speaks JSON"),
    ("[{", "a command that speaks JSON"),
    ("[\"", "a command that speaks JSON"),
    ("https://", "a command that lists URLs"),
    ("http://", "a command that lists URLs"),
    ("Index: ", "`svn diff`"),
    ("warning: LF will be replaced", "git, as a warning"),
];

fn plainly(line: &[u8]) -> Option<&'static str> {
    let starts = BEGINNINGS
        .iter()
        .find(|(start, _)| line.starts_with(start.as_bytes()));
    if let Some((_, command)) = starts {
        return Some(command);
    }
    let mut words = line.split(|b| *b == b' ');
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let is_hex = |word: &[u8]| word.len() >= 40 && word.iter().all(u8::is_ascii_hexdigit);
    match first {
        b"commit" if is_hex(second) => return Some(LOG),
        b"index" if second.windows(2).any(|pair| pair == b"..") => return Some(PATCH),
        // `git status --porcelain=v2`
        b"1" | b"2" | b"u" if is_code(second, b'.') => return Some(SHORT_STATUS),
        b"total" if !second.is_empty() && second.iter().all(u8::is_ascii_digit) => {
            return Some("`ls -l`");
        }
        _ => {}
    }
    let is_mode = first.len() == 6 && first.iter().all(|b| (b'0'..=b'7').contains(b));
    if is_mode && (is_hex(second) || matches!(second, b"blob" | b"tree" | b"commit")) {
        return Some("`git ls-files --stage` or `git ls-tree`");
    }
    let is_rights = |word: &[u8]| {
        let rest = word.get(1..10).unwrap_or_default();
        word.len() >= 10
            && word.first().is_some_and(|b| b"-dlbcps".contains(b))
            && rest.iter().all(|b| b"rwxsStT-".contains(b))
    };
    if is_rights(first) {
        return Some("`ls -l`");
    }
    if is_itemized(first) {
        return Some("`rsync --itemize-changes`");
    }
    if is_stat(line) {
        return Some(STAT);
    }
    is_numstat(line).then_some("`git diff --numstat`")
}

/// A two-letter status; `blank` is the letter for "unchanged".
fn is_code(code: &[u8], blank: u8) -> bool {
    let letter = |b: &u8| b"MTADRCU".contains(b) || *b == blank;
    code.len() == 2 && code.iter().all(letter) && code.iter().any(|b| *b != blank)
}

/// A status of one or two letters before a blank, and whether it cannot be anything else.
fn hinted(line: &[u8]) -> Option<(&'static str, bool)> {
    let (code, rest) = line.split_at_checked(2)?;
    // `XY path`, where one of X and Y may be a blank.
    if is_code(code, b' ') && rest.first() == Some(&b' ') && rest.get(1).is_some_and(|b| *b != b' ')
    {
        let has_blank = code.contains(&b' ');
        let arrow = rest.windows(4).any(|part| part == b" -> ");
        return Some((SHORT_STATUS, has_blank || arrow || rest.contains(&b'/')));
    }
    // `M path`, as Mercurial, Jujutsu and others print it, and as tabs become when copied.
    let is_status = code.first().is_some_and(|b| b"MADRCUT?!".contains(b));
    if is_status && code.get(1) == Some(&b' ') {
        let is_wide = rest.first() == Some(&b' ');
        return Some((
            "another program, with blanks where git has a tab",
            is_wide || rest.contains(&b'/'),
        ));
    }
    None
}

/// `>f+++++++++`
fn is_itemized(word: &[u8]) -> bool {
    word.len() == 11
        && word.first().is_some_and(|b| b"<>ch.*".contains(b))
        && word.get(1).is_some_and(|b| b"fdLDS".contains(b))
        && word
            .get(2..)
            .is_some_and(|rest| rest.iter().all(|b| b"+.cstpoguax?n".contains(b)))
}

/// ` path | 2 +-` or ` 3 files changed, ...`
fn is_stat(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let Some(rest) = text.strip_prefix(' ') else {
        return false;
    };
    let sums = [" file changed", " files changed"];
    if sums.iter().any(|sum| {
        rest.split_once(sum)
            .is_some_and(|(count, _)| count.parse::<u64>().is_ok())
    }) {
        return true;
    }
    rest.rsplit_once(" | ").is_some_and(|(_, counts)| {
        let mut words = counts.split_whitespace();
        let count = words.next().unwrap_or_default();
        let marks = words.next().unwrap_or_default();
        count == "Bin"
            || count.parse::<u64>().is_ok() && marks.chars().all(|c| c == '+' || c == '-')
    })
}

/// `1<tab>2<tab>path`
fn is_numstat(line: &[u8]) -> bool {
    let mut columns = line.split(|b| *b == b'\t');
    let mut count = || {
        columns.next().is_some_and(|count| {
            count == b"-" || !count.is_empty() && count.iter().all(u8::is_ascii_digit)
        })
    };
    count() && count() && columns.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::printed_by;

    #[test]
    fn what_another_command_printed_is_told_from_paths() {
        for (text, expected) in [
            (" M static/a.css\n", "git status"),
            ("?? static/b.css\n", "git status"),
            ("R  static/old.css -> static/new.css\n", "git status"),
            ("MM a.css\nAM b.css\n", "git status"),
            ("UU static/a.css\n", "git status"),
            ("A  a.css\n", "git status"),
            ("D  \"a b.css\"\n", "git status"),
            ("## main...origin/main\n M a\n", "git status"),
            ("1 .M N... 100644 100644 100644 1a 1a a.css\n", "git status"),
            (
                "On branch main\nChanges not staged for commit:\n\tmodified:   a.css\n",
                "git status",
            ),
            ("\tmodified:   static/a.css\n", "git status"),
            ("diff --git a/a.css b/a.css\n", "git diff"),
            (
                " static/a.css | 2 +-\n 1 file changed, 1 insertion(+)\n",
                "git diff --stat",
            ),
            (" logo.png | Bin 0 -> 10 bytes\n", "git diff --stat"),
            ("3\t1\tstatic/a.css\n", "git diff --numstat"),
            ("-\t-\tlogo.png\n", "git diff --numstat"),
            (
                "commit 1111111111111111111111111111111111111111\nAuthor: A <a@b.c>\n",
                "git log",
            ),
            (
                "100644 blob 1111111111111111111111111111111111111111\ta.css\n",
                "git ls-tree",
            ),
            (
                "100644 1111111111111111111111111111111111111111 0\ta.css\n",
                "git ls-files",
            ),
            (
                "total 12\n-rw-r--r-- 1 me me 5 Jan 1 10:00 a.css\n",
                "ls -l",
            ),
            ("drwxr-xr-x 2 me me 5 Jan 1 10:00 static\n", "ls -l"),
            ("M static/a.css\n", "blanks where git has a tab"),
            ("M       static/a.css\n", "blanks where git has a tab"),
            ("M a.css\nA b.css\n", "blanks where git has a tab"),
            ("? a.css\n! b.css\n", "blanks where git has a tab"),
            (">f+++++++++ static/a.css\n", "rsync"),
            (".\n├── static\n│   └── a.css\n", "tree"),
            ("{\"files\": []}\n", "JSON"),
            ("https://www.example.com/a.css\n", "URLs"),
        ] {
            let (_, command) = printed_by(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert!(command.contains(expected), "{text}: {command}");
        }
    }

    #[test]
    fn lists_of_paths_are_let_pass() {
        for text in [
            "a.md\nb c.md\n",
            "M\ta.css\nA\tb.css\n",
            "R100\told.css\tnew.css\n",
            "A Tale of Two Cities.md\n",
            "M is for murder.md\ncontent/x.md\n",
            "AM radio.md\n",
            "\" M a.css\"\n",
            "1 - intro.md\n",
            "total.md\n",
            "[slug].md\n",
            "index.html\n",
            "commit.md\n",
            "2 fast.md\n",
            ".github/workflows/deploy.yml\n",
            "",
        ] {
            assert_eq!(printed_by(text.as_bytes()), None, "{text}");
        }
    }
}
