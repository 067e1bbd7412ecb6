//! Text with everything blanked out that is not code, or is not shipped.
//!
//! Blanks keep every line and column in place, so that what is found can be pointed at. This is no parser; it knows comments, strings,
//! characters and braces.

/// Blanks out what only tests compile.
pub fn blank_tests(code: &str) -> String {
    let mut shipped = code.to_owned();
    while let Some(start) = shipped.find("#[cfg(test)]") {
        let end = match shipped[start..].find(['{', ';']) {
            Some(at) if shipped[start + at..].starts_with('{') => block_end(&shipped, start + at),
            Some(at) => start + at + 1,
            None => shipped.len(),
        };
        shipped.replace_range(start..end, &blank(&shipped[start..end]));
    }
    shipped
}

/// As many bytes of white space, with the line breaks where they were.
fn blank(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

/// Blanks out comments, strings and characters.
pub fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = length_of_no_code(rest, code.chars().next_back());
        let (taken, left) = rest.split_at(if skipped > 0 { skipped } else { first.len_utf8() });
        match skipped {
            0 => code.push_str(taken),
            _ => code.push_str(&blank(taken)),
        }
        rest = left;
    }
    code
}

/// How many bytes of a comment, string or character `rest` begins with.
fn length_of_no_code(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        length_of_block_comment(rest)
    } else if rest.starts_with('"') {
        length_of_quoted(rest, '"')
    } else if rest.starts_with(['r', 'b', 'c']) && !in_word {
        length_of_raw_string(rest)
    } else if rest.starts_with('\'') {
        length_of_character(rest)
    } else {
        0
    }
}

fn length_of_block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn length_of_quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r".."`, `r#".."#`, `br".."` and the like; zero for a word that only begins alike.
fn length_of_raw_string(rest: &str) -> usize {
    let Some(after) = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix)) else {
        return 0;
    };
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return 0;
    }
    let start = rest.len() - after.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    rest[start..]
        .find(&close)
        .map_or(rest.len(), |at| start + at + close.len())
}

/// `'x'` and `'\n'`; zero for a lifetime.
fn length_of_character(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => length_of_quoted(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// The end of the block whose first `{` is at or after `from`: just behind its `}`.
pub fn block_end(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return from + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::blank_comments_and_strings as code;

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        let text =
            "a // b \"c\n/* d /* e */ f */ g \"h \\\" i\" r#\"j \" k\"# 'l' '\\'' m: &'n str, b\"o\" br\"p\\\" q";
        let words: Vec<_> = code(text).split_whitespace().map(String::from).collect();
        assert_eq!(words, ["a", "g", "m:", "&'n", "str,", "b", "q"]);
        assert_eq!(code(text).len(), text.len());
        assert_eq!(code("x \"\n\n\" y").matches('\n').count(), 2);
    }

    #[test]
    fn words_that_begin_like_raw_strings_are_code() {
        assert_eq!(code("r#type br crate::raft bar"), "r#type br crate::raft bar");
    }
}
