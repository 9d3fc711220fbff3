//! A Rust file as the rules see it: its text, the same text with comments and literals blanked out, and the parts
//! that are only compiled for tests.
//!
//! Blanking keeps every line break and every column, so that a place in the code is the same place in the text.

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its path from the project's root, with forward slashes.
    pub(crate) path: String,
    /// What stands in it.
    pub(crate) text: String,
    /// The same, with comments, strings and character literals replaced by spaces.
    pub(crate) code: String,
    /// The line (from 0) on which a trailing `#[cfg(test)] mod` begins; the number of lines where there is none.
    pub(crate) tests_from: usize,
}

impl Source {
    /// Reads the text of a file.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let lines: Vec<&str> = code.lines().collect();
        let opens_here = |i: &usize| opens_test_module(&lines[*i..]);
        let in_test_file = path.starts_with("tests/") || path.ends_with("_tests.rs") || path.ends_with("/tests.rs");
        let tests_from = if in_test_file { 0 } else { (0..lines.len()).find(opens_here).unwrap_or(lines.len()) };
        Source { path: path.into(), text: text.into(), code, tests_from }
    }

    /// Returns the lines of code, numbered from 1, without those of the trailing test module.
    pub(crate) fn lines_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().take(self.tests_from).map(|(i, line)| (i + 1, line))
    }
}

/// Returns whether an inline module that is only compiled for tests opens with the first of these lines.
fn opens_test_module(lines: &[&str]) -> bool {
    let for_tests =
        |line: &str| line.trim_start().starts_with("#[cfg(") && has_word(line, "test") && !has_word(line, "not");
    if !lines.first().is_some_and(|line| for_tests(line)) {
        return false;
    }
    // Other attributes may stand between; a module in a file of its own ends with a semicolon.
    let module = lines.iter().map(|line| line.rsplit(']').next().unwrap_or(line).trim()).find(|rest| !rest.is_empty());
    module.is_some_and(|rest| rest.starts_with("mod ") && rest.contains('{'))
}

/// Replaces comments, strings and character literals by spaces.
pub(crate) fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).max(at + 1);
        let literal = end > at + 1;
        out.extend(chars[at..end].iter().map(|c| if literal && *c != '\n' { ' ' } else { *c }));
        at = end;
    }
    out
}

/// Returns where the comment or literal that starts here ends, or `at` when none starts here.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |i: usize| chars.get(at + i).copied();
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == Some('/') => (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len()),
        '/' if next(1) == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' | 'b' | 'c' if !in_word => prefixed_end(chars, at),
        '\'' => char_end(chars, at),
        _ => at,
    }
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0usize, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// Handles `r"`, `r#"`, `b"`, `br"`, `b'`, `c"` and leaves words such as `rows` alone.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let mut i = at;
    while i < chars.len() && i < at + 2 && matches!(chars[i], 'r' | 'b' | 'c') {
        i += 1;
    }
    let raw = chars[at..i].contains(&'r');
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    match chars.get(i + hashes) {
        Some('"') if raw => {
            let closes = |j: &usize| {
                chars[*j] == '"' && chars[*j + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
            };
            (i + hashes + 1..chars.len()).find(closes).map_or(chars.len(), |j| j + 1 + hashes)
        }
        Some('"') if hashes == 0 => string_end(chars, i + 1),
        Some('\'') if hashes == 0 && chars[at] == 'b' => char_end(chars, i).max(at),
        _ => at,
    }
}

/// Tells a character literal from a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(at, |i| i + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Returns whether `word` stands at `place` as a word of its own.
fn is_word(line: &str, place: usize, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = line[..place].chars().next_back();
    let after = line[place + word.len()..].chars().next();
    let starts = !word.starts_with(in_word) || !before.is_some_and(in_word);
    starts && (!word.ends_with(in_word) || !after.is_some_and(in_word))
}

/// Returns whether the line holds the word, whole.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(place, _)| is_word(line, place, word))
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    for (text, expected) in [
        ("let a = \"unsafe\";", "let a =         ;"),
        ("x // unsafe\ny", "x          \ny"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("r#\"a \" b\"# + rows", "           + rows"),
        ("b\"x\" b'y' c", "          c"),
        ("f('{', '\\'', 'a)", "f(   ,     , 'a)"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for_each(r, b)", "for_each(r, b)"),
        ("\"a\\\"b\" c", "       c"),
    ] {
        assert_eq!(blanked(text), expected, "{text}");
    }
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("unsafe {", "unsafe") && has_word("(faer::x)", "faer"));
    assert!(!has_word("unsafe_code", "unsafe") && !has_word("a_faer", "faer"));
}

#[test]
fn the_trailing_test_module_is_found() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(Source::new("src/a.rs", text).tests_from, 1);
    assert_eq!(Source::new("src/a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}\n").tests_from, 3);
    let with_attributes = "fn a() {}\n#[cfg(all(test, loom))]\n#[expect(x)]\nmod model {\n}\n";
    assert_eq!(Source::new("src/a.rs", with_attributes).tests_from, 1);
    assert_eq!(Source::new("src/a.rs", "#[cfg(not(test))]\nmod a {\n}\n").tests_from, 3);
    assert_eq!(Source::new("src/a.rs", "#[cfg(test)]\nfn f() {}\nmod a {\n}\n").tests_from, 4);
    assert_eq!(Source::new("tests/a.rs", "fn a() {}\n").tests_from, 0);
}
