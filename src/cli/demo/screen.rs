//! Where the show is seen: a terminal with colour and a line that lives, or a pipe with plain lines.

use std::io::{self, IsTerminal, Write};

/// Takes the cursor to the start of the line and clears it (ECMA-48: CR, EL).
const CLEAR_LINE: &str = "\r\x1b[2K";
const RESET: &str = "\x1b[0m";

/// What the output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Lines, one after the other.
    Plain,
    /// A last line that changes in place.
    Live,
    /// That, and colours.
    LiveInColour,
}

impl Look {
    /// For stdout of this process; `NO_COLOR` (<https://no-color.org>) and dumb terminals are respected.
    pub fn of_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match (io::stdout().is_terminal() && !is_dumb, set("NO_COLOR")) {
            (false, _) => Self::Plain,
            (true, true) => Self::Live,
            (true, false) => Self::LiveInColour,
        }
    }
}

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Normal,
    /// Of less interest.
    Quiet,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// A heading.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Quiet => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[1;31m",
            Self::Strong => "\x1b[1m",
        }
    }
}

/// The output.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    look: Look,
    /// The line that lives, where it is seen.
    live: Option<String>,
}

impl<'a> Screen<'a> {
    /// Shows on `out`.
    pub fn new(out: &'a mut dyn Write, look: Look) -> Self {
        Self { out, look, live: None }
    }

    /// What it can show.
    pub fn look(&self) -> Look {
        self.look
    }

    /// One more line, above the one that lives.
    ///
    /// # Errors
    /// Where the output takes no more.
    pub fn line(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let live = self.live.take();
        if live.is_some() {
            self.out.write_all(CLEAR_LINE.as_bytes())?;
        }
        self.write(tone, text)?;
        self.out.write_all(b"\n")?;
        live.map_or(Ok(()), |live| self.status(&live))
    }

    /// The status: in place of the one before where the line can live, else a line.
    ///
    /// # Errors
    /// Where the output takes no more.
    pub fn status(&mut self, text: &str) -> io::Result<()> {
        if self.look == Look::Plain {
            return writeln!(self.out, "{text}");
        }
        self.end_live()?;
        self.write(Tone::Strong, text)?;
        self.live = Some(text.to_owned());
        self.out.flush()
    }

    fn write(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        match (self.look, tone) {
            (Look::LiveInColour, tone) if tone != Tone::Normal => {
                write!(self.out, "{}{text}{RESET}", tone.code())
            }
            _ => self.out.write_all(text.as_bytes()),
        }
    }

    /// Takes the live line away.
    ///
    /// # Errors
    /// Where the output takes no more.
    pub fn end_live(&mut self) -> io::Result<()> {
        if self.live.take().is_some() { self.out.write_all(CLEAR_LINE.as_bytes()) } else { Ok(()) }
    }

    /// Shows what is written so far.
    ///
    /// # Errors
    /// Where the output takes no more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(look: Look, expected: Expect) {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, look);
        screen.status("900 readings/s").unwrap();
        screen.status("901 readings/s").unwrap();
        screen.line(Tone::Bad, "alert firing").unwrap();
        screen.line(Tone::Normal, "a row").unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap().escape_debug().to_string());
    }

    #[test]
    fn a_pipe_gets_plain_lines() {
        check(Look::Plain, expect![[r#"900 readings/s\n901 readings/s\nalert firing\na row\n"#]]);
    }

    #[test]
    fn a_terminal_gets_a_line_that_lives() {
        check(
            Look::Live,
            expect![[
                r#"900 readings/s\r\u{1b}[2K901 readings/s\r\u{1b}[2Kalert firing\n901 readings/s\r\u{1b}[2Ka row\n901 readings/s"#
            ]],
        );
        check(
            Look::LiveInColour,
            expect![[
                r#"\u{1b}[1m900 readings/s\u{1b}[0m\r\u{1b}[2K\u{1b}[1m901 readings/s\u{1b}[0m\r\u{1b}[2K\u{1b}[1;31malert firing\u{1b}[0m\n\u{1b}[1m901 readings/s\u{1b}[0m\r\u{1b}[2Ka row\n\u{1b}[1m901 readings/s\u{1b}[0m"#
            ]],
        );
    }
}
