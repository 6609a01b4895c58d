//! One JSON object a line, as `--json` prints it.

/// An object under construction.
pub(crate) struct Line(String);

impl Line {
    /// Starts the object with its kind of event.
    pub(crate) fn event(name: &str) -> Self {
        Self::object().text("event", name)
    }

    /// Starts an object that belongs into a list.
    pub(crate) fn object() -> Self {
        Self("{".into())
    }

    /// Adds a text.
    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.quote(value);
        self
    }

    /// Adds a number.
    pub(crate) fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        self.0.push_str(&value.to_string());
        self
    }

    /// Adds a list of objects.
    pub(crate) fn list(mut self, key: &str, objects: impl IntoIterator<Item = Self>) -> Self {
        self.key(key);
        let objects: Vec<_> = objects.into_iter().map(|object| object.0 + "}").collect();
        self.0.push_str(&format!("[{}]", objects.join(",")));
        self
    }

    /// Ends the object and the line.
    pub(crate) fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.quote(key);
        self.0.push(':');
    }

    fn quote(&mut self, text: &str) {
        self.0.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.0.extend(['\\', character]),
                '\0'..='\x1f' => self.0.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => self.0.push(character),
            }
        }
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_one_line_with_its_members_in_order() {
        let line = Line::event("reply").number("bytes", 3).text("via", "direct").end();
        assert_eq!(line, "{\"event\":\"reply\",\"bytes\":3,\"via\":\"direct\"}\n");
    }

    #[test]
    fn a_list_holds_objects_or_nothing() {
        let line = Line::event("a").list("none", []).list("two", [1, 2].map(|n| Line::object().number("n", n))).end();
        assert_eq!(line, "{\"event\":\"a\",\"none\":[],\"two\":[{\"n\":1},{\"n\":2}]}\n");
    }

    #[test]
    fn what_would_end_a_text_is_escaped() {
        assert_eq!(Line::event("a\"b\\c\n").end(), "{\"event\":\"a\\\"b\\\\c\\u000a\"}\n");
    }
}
