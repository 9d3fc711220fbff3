//! The rules. Each returns its complaints as `line: what is wrong`.

use std::collections::BTreeMap;

use crate::source::{Source, has_word};

/// Complains about a file that does not open with its page.
pub(crate) fn has_no_page(file: &Source) -> Vec<String> {
    let opens = file.text.trim_start().starts_with("//!");
    if opens { Vec::new() } else { vec!["1: does not open with a page (//!)".into()] }
}

/// Complains about long files and long functions.
pub(crate) fn too_long(file: &Source, max_file: usize, max_function: usize) -> Vec<String> {
    let mut complaints = Vec::new();
    let n_lines = file.text.lines().count();
    if n_lines > max_file {
        complaints.push(format!("{max_file}: the file has {n_lines} lines, at most {max_file} are allowed"));
    }
    for (line, name, n_lines) in functions(&file.code) {
        if n_lines > max_function {
            complaints.push(format!("{line}: fn {name} has {n_lines} lines, at most {max_function} are allowed"));
        }
    }
    complaints
}

/// Returns line, name and number of lines of every function that has a body.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("fn ") {
        let starts_a_word = !code[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[place + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !starts_a_word || name.is_empty() {
            continue;
        }
        let Some(body) = code[place..].find(['{', ';']).map(|i| place + i).filter(|i| code[*i..].starts_with('{'))
        else {
            continue;
        };
        let line = code[..place].matches('\n').count() + 1;
        found.push((line, name, code[place..closing(code, body)].matches('\n').count() + 1));
    }
    found
}

/// Returns the place after the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + i + 1;
        }
    }
    code.len()
}

/// Returns which layer each name that `lib.rs` re-exports comes from.
pub(crate) fn reexports(lib: &Source) -> BTreeMap<String, String> {
    let mut from = BTreeMap::new();
    for statement in lib.code.split(';').filter_map(|s| s.split("pub use ").nth(1)) {
        for path in leaves(statement) {
            let parts: Vec<&str> = path.trim_start_matches("crate::").split("::").collect();
            if let [layer, .., name] = parts[..] {
                from.insert(name.to_owned(), layer.to_owned());
            }
        }
    }
    from
}

/// Complains about modules of `lib.rs` that no layer names.
pub(crate) fn modules_without_layer(lib: &Source, layers: &[&[&str]]) -> Vec<String> {
    let modules = lib.code.lines().filter_map(|line| {
        let rest = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        Some(rest.strip_prefix("mod ")?.trim_end_matches([';', ' ', '{']).to_owned())
    });
    modules.filter(|module| height(module, layers).is_none()).map(|module| format!("{module} has no layer")).collect()
}

fn height(layer: &str, layers: &[&[&str]]) -> Option<usize> {
    layers.iter().position(|names| names.contains(&layer))
}

/// Complains about paths that lead to a layer above the file's own.
pub(crate) fn imports_point_up(file: &Source, layers: &[&[&str]], reexports: &BTreeMap<String, String>) -> Vec<String> {
    let inside = file.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let module: Vec<&str> = inside.split('/').collect();
    let Some(own) = height(module[0], layers) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (line, target) in crate_paths(&file.code, module.len()) {
        let layer = reexports.get(&target).unwrap_or(&target);
        match height(layer, layers) {
            Some(other) if other > own => complaints.push(format!("{line}: {} may not use {layer}", module[0])),
            // Two names of one height are two layers that do not know each other, but for the lowest ones.
            Some(other) if other == own && own > 0 && layer != module[0] => {
                complaints.push(format!("{line}: {} may not use its neighbour {layer}", module[0]))
            }
            _ => {}
        }
    }
    complaints
}

/// Returns line and first name of every path that starts at the crate's root, written `crate::` or with `super`s.
fn crate_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let climb = "super::".repeat(depth);
    let mut found = Vec::new();
    for start in ["crate::", climb.as_str()] {
        for (place, _) in code.match_indices(start) {
            let whole = !code[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if !whole {
                continue;
            }
            let rest = &code[place + start.len()..];
            let tree = if rest.starts_with('{') { &rest[..closing(rest, 0)] } else { word(rest) };
            let line = code[..place].matches('\n').count() + 1;
            found.extend(leaves(tree).iter().map(|path| (line, word(path).to_owned())));
        }
    }
    found
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Opens the braces of a use-tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.split_whitespace().collect()];
    };
    let inner = &tree[open + 1..closing(tree, open) - 1];
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    for (i, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    let prefix: String = tree[..open].split_whitespace().collect();
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(leaves).map(|path| format!("{prefix}{path}")).collect()
}

/// Complains about a format's file that names another format's module.
pub(crate) fn knows_another_format(file: &Source, formats: &[&str]) -> Vec<String> {
    let inside = file.path.trim_start_matches("src/io/").trim_end_matches(".rs");
    let own = inside.split('/').next().unwrap_or(inside);
    if !formats.contains(&own) {
        return Vec::new();
    }
    let others = || formats.iter().filter(|other| **other != own);
    let names = |line: &str| others().find(|other| has_word(line, &format!("{other}::"))).copied();
    let found = file.lines_outside_tests().filter_map(|(i, line)| Some((i, names(line)?)));
    found.map(|(i, other)| format!("{i}: {own} may not know {other}")).collect()
}

/// Complains about `unsafe` outside the named files, and in them without its proof.
pub(crate) fn stray_unsafe(file: &Source, allowed: &[&str]) -> Vec<String> {
    let uses = file.code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    if !allowed.contains(&file.path.as_str()) {
        return uses.map(|(i, _)| format!("{}: unsafe is not allowed in this file", i + 1)).collect();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let declares = |line: &str| line.contains("unsafe fn") || line.contains("unsafe extern");
    let unproven = uses.filter(|(i, line)| !declares(line) && !is_proven(&lines, *i));
    unproven.map(|(i, _)| format!("{}: unsafe without a SAFETY proof above it", i + 1)).collect()
}

/// Returns whether a SAFETY comment ends directly above the statement that line `i` belongs to.
fn is_proven(lines: &[&str], i: usize) -> bool {
    let comment = |line: &&str| line.trim_start().starts_with("//");
    let above = lines[..i].iter().rev();
    // The statement may have begun on an earlier line: at most three lines of code may stand between.
    let proof = above.skip_while({
        let mut code_lines = 0;
        move |line| {
            code_lines += 1;
            !comment(line) && code_lines <= 3
        }
    });
    proof.take_while(|line| comment(line)).any(|line| line.contains("SAFETY:"))
}

/// Complains about threads that start outside the named files.
pub(crate) fn stray_threads(file: &Source, allowed: &[&str]) -> Vec<String> {
    if allowed.contains(&file.path.as_str()) {
        return Vec::new();
    }
    mentions(file, &["thread::spawn", "thread::Builder", "thread::scope", ".spawn(", "tokio::spawn", "rayon"])
}

/// Complains about words in the code outside tests.
pub(crate) fn mentions(file: &Source, words: &[&str]) -> Vec<String> {
    let found = |(i, line): (usize, &str)| words.iter().find(|word| has_word(line, word)).map(|word| (i, *word));
    file.lines_outside_tests().filter_map(found).map(|(i, word)| format!("{i}: {word} is not allowed here")).collect()
}

/// Complains about `unwrap` outside tests.
pub(crate) fn unwraps(file: &Source) -> Vec<String> {
    mentions(file, &[".unwrap()", ".unwrap_err()"])
}

/// Complains about what stands for work not done.
pub(crate) fn unfinished(file: &Source) -> Vec<String> {
    let macros = ["todo!", "unimplemented!", "dbg!"];
    // The marks are put together here, so that this file does not complain about itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["X", "XX"].concat()];
    let mut complaints = Vec::new();
    for (i, (code, text)) in file.code.lines().zip(file.text.lines()).enumerate() {
        if let Some(found) = macros.iter().find(|name| has_word(code, name)) {
            complaints.push(format!("{}: {found} is work not done", i + 1));
        }
        let comment = text.find("//").map_or("", |start| &text[start..]);
        if let Some(found) = marks.iter().find(|mark| has_word(comment, mark)) {
            complaints.push(format!("{}: {found} is work not done", i + 1));
        }
    }
    complaints
}

/// Returns the targets of a document's links that are files of the project.
pub(crate) fn local_links(markdown: &str) -> Vec<&str> {
    let targets = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or(target));
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:")).collect()
}
