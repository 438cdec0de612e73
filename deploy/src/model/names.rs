//! Class names as exporters write them: a Python literal, `{0: 'person', 1: "driver's cab"}` or `['person', 'car']`.

use std::iter::Peekable;
use std::str::Chars;

/// Reads the names in the order of their class numbers, which must be 0, 1, 2 ... without a gap.
///
/// # Errors
/// A sentence that says where the literal stops being one.
pub(super) fn parse(literal: &str) -> Result<Vec<String>, String> {
    let mut scan = Scan { rest: literal.chars().peekable() };
    let mut entries = match scan.next_token() {
        Some('{') => scan.entries('}', true)?,
        Some('[') => scan.entries(']', false)?,
        _ => return Err("does not begin with { or [".to_owned()),
    };
    if scan.next_token().is_some() {
        return Err("goes on after its end".to_owned());
    }
    entries.sort_by_key(|(class, _)| *class);
    match entries.iter().enumerate().find(|(i, (class, _))| i != class) {
        Some((i, _)) => Err(format!("class {i} has no name, or two")),
        None => Ok(entries.into_iter().map(|(_, name)| name).collect()),
    }
}

struct Scan<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Scan<'_> {
    fn skip_blanks(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn next_token(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest.next()
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn entries(&mut self, end: char, numbered: bool) -> Result<Vec<(usize, String)>, String> {
        let mut entries = Vec::new();
        while !self.next_is(end) {
            let class = if numbered { self.class()? } else { entries.len() };
            entries.push((class, self.text()?));
            if !self.next_is(',') {
                return if self.next_is(end) { Ok(entries) } else { Err(format!("no , or {end}")) };
            }
        }
        Ok(entries)
    }

    fn class(&mut self) -> Result<usize, String> {
        self.skip_blanks();
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let class = digits.parse().map_err(|_| "a class number is missing".to_owned())?;
        if self.next_is(':') { Ok(class) } else { Err(format!("no : after class {class}")) }
    }

    fn text(&mut self) -> Result<String, String> {
        let quote = match self.next_token() {
            Some(c @ ('\'' | '"')) => c,
            _ => return Err("a name without quotes".to_owned()),
        };
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(self.escaped()?),
                Some(c) => text.push(c),
                None => return Err("a name without its closing quote".to_owned()),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        match self.rest.next() {
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('x') => self.code_point(2),
            Some('u') => self.code_point(4),
            Some('U') => self.code_point(8),
            Some(c @ ('\\' | '\'' | '"')) => Ok(c),
            other => Err(format!("an unknown escape \\{}", other.unwrap_or(' '))),
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, String> {
        let hex: String = self.rest.by_ref().take(digits).collect();
        u32::from_str_radix(&hex, 16)
            .ok()
            .filter(|_| hex.len() == digits)
            .and_then(char::from_u32)
            .ok_or_else(|| format!("no character has the code '{hex}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_python_prints() {
        assert_eq!(parse("{0: 'person', 1: 'car'}").unwrap(), ["person", "car"]);
        assert_eq!(
            parse(r#"{1: "driver's cab", 0: 'a\'b\\c"\xe9\u4eba',}"#).unwrap(),
            ["a'b\\c\"é人", "driver's cab"]
        );
        assert_eq!(parse(" [ 'a' , \"b\" ] ").unwrap(), ["a", "b"]);
        assert_eq!(parse("{0: 'traffic: light, {red}'}").unwrap(), ["traffic: light, {red}"]);
        assert_eq!(parse("{}").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn refuses_what_is_no_list_of_names() {
        for bad in [
            "",
            "person",
            "{0 'a'}",
            "{0: a}",
            "{0: 'a'",
            "{0: 'a' 1: 'b'}",
            "{0: 'a}",
            "{0: 'a', 2: 'b'}",
            "{0: 'a', 0: 'b'}",
            "{0: 'a'} x",
            r"{0: '\xzz'}",
            r"{0: '\q'}",
            r"{0: '\",
            "{99999999999999999999: 'a'}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
