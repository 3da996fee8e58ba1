//! What is said at the end (pure), and what it is worth as an exit code.

use std::path::PathBuf;
use std::time::Duration;

use super::latency::Quantiles;
use super::lines;
use super::machine::MACHINES;
use super::screen::Tone;
use super::series::show_time;
use super::show::Ending;
use super::tally::{Noticed, Tally};
use crate::cli::{FAILED, OK};
use crate::model::Timestamp;

/// How a run went.
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The accounts.
    pub tally: Tally,
    /// Everything that is missing or failed.
    pub losses: Vec<String>,
    /// From the first reading to the last row.
    pub took: Duration,
    /// Of all messages.
    pub acknowledgement: Option<Quantiles>,
    /// How this program was called.
    pub program: String,
    /// The folder, where it stays.
    pub kept: Option<PathBuf>,
}

impl Outcome {
    /// 0 unless something is lost or, at the end, a labelled failure was not noticed.
    pub fn exit_code(&self) -> u8 {
        let is_played = self.ending != Ending::Interrupted;
        let is_missed = is_played && self.tally.noticed().iter().any(|noticed| !noticed.by_all());
        if is_missed || !self.losses.is_empty() { FAILED } else { OK }
    }

    /// The lines, each with its tone.
    pub fn lines(&self) -> Vec<(Tone, String)> {
        let mut text = vec![(Tone::Normal, String::new()), (Tone::Strong, self.heading())];
        text.extend(self.accounts());
        if self.ending != Ending::Interrupted {
            text.extend(self.failures());
        }
        text.extend(self.verdict());
        text.extend(self.next_steps());
        text
    }

    fn heading(&self) -> String {
        let how = match self.ending {
            Ending::Complete => "Played to the end",
            Ending::Stalled => "Stalled",
            Ending::Interrupted => "Interrupted",
        };
        let acknowledged = self.tally.acknowledged();
        let seconds = self.took.as_secs_f64();
        let rate = acknowledged as f64 / seconds.max(0.001);
        let acknowledgement =
            self.acknowledgement.map_or_else(String::new, |took| format!(", {}", lines::quantiles(took)));
        format!("{how}: {acknowledged} readings in {seconds:.0} s, {rate:.0} readings/s{acknowledgement}")
    }

    fn accounts(&self) -> Vec<(Tone, String)> {
        let heading = format!(
            "  {:9}{:22}{:>8}{:>8}{:>7}{:>8}",
            "machine", "speaks", "sent", "acked", "rows", "alerts"
        );
        let mut text = vec![(Tone::Quiet, heading)];
        for (machine, account) in MACHINES.iter().zip(&self.tally.accounts) {
            let line = format!(
                "  {:9}{:22}{:>8}{:>8}{:>7}{:>8}",
                machine.name,
                machine.speaks,
                account.sent,
                account.acknowledged,
                account.rows,
                account.fired.len()
            );
            text.push((Tone::Normal, line));
        }
        text
    }

    fn failures(&self) -> Vec<(Tone, String)> {
        let mut text = vec![
            (Tone::Normal, String::new()),
            (Tone::Strong, "Failures that the data's owners labelled, and the first alert in each:".into()),
        ];
        text.extend(self.tally.noticed().iter().map(noticed));
        let outside = self.tally.outside();
        let when = |(time, machines): (&Timestamp, &usize)| {
            format!("{} ({machines} machine{})", show_time(*time), if *machines == 1 { "" } else { "s" })
        };
        let times = outside.iter().map(when).collect::<Vec<_>>().join(", ");
        let count: usize = outside.values().sum();
        let separator = if count == 0 { "" } else { ": " };
        text.push((Tone::Normal, format!("  outside of them: {count} alerts in 11 weeks{separator}{times}")));
        text
    }

    fn verdict(&self) -> Vec<(Tone, String)> {
        let mut text = Vec::new();
        if self.losses.is_empty() && self.ending == Ending::Complete {
            let line =
                "Nothing lost: every reading was acknowledged and is counted by exactly one window row.";
            text.push((Tone::Good, line.into()));
            let open = self.tally.left_open();
            text.push((
                Tone::Quiet,
                format!("(The last {open} of each machine: their window is still open.)"),
            ));
        }
        text.extend(self.losses.iter().map(|loss| (Tone::Bad, format!("LOST  {loss}"))));
        if !text.is_empty() {
            text.insert(0, (Tone::Normal, String::new()));
        }
        text
    }

    fn next_steps(&self) -> Vec<(Tone, String)> {
        let program = &self.program;
        let steps = [
            ("what Forebay does and how", "README.md".to_owned()),
            ("what ran here: start from it", "config/demo.toml".to_owned()),
            ("every key with its default", "config/forebay.toml".to_owned()),
            ("who feeds whom", format!("{program} check --graph --config config/demo.toml")),
            ("the same for your devices", format!("{program} run --config config/demo.toml")),
            ("leaves journal and results", format!("{program} demo --keep")),
        ];
        let mut text = vec![(Tone::Normal, String::new()), (Tone::Strong, "Where to look next:".into())];
        text.extend(steps.iter().map(|(what, place)| (Tone::Normal, format!("  {what:29} {place}"))));
        if let Some(folder) = &self.kept {
            text.push((Tone::Normal, format!("Kept: {}/results.ndjson, demo.toml, data/", folder.display())));
        }
        text
    }
}

/// `2013-12-10 06:25 to 2013-12-12 05:35  2013-12-10 10:00 on all machines`.
fn noticed(noticed: &Noticed) -> (Tone, String) {
    let failure = format!("{} to {}", show_time(noticed.failure.from), show_time(noticed.failure.to));
    let show = |at: Option<_>| at.map_or_else(|| "MISSED".into(), show_time);
    let is_same = noticed.at.windows(2).all(|pair| pair[0] == pair[1]);
    let who = if is_same {
        format!("{} on all machines", show(noticed.at[0]))
    } else {
        let each =
            MACHINES.iter().zip(noticed.at).map(|(machine, at)| format!("{} {}", machine.name, show(at)));
        each.collect::<Vec<_>>().join(", ")
    };
    (if noticed.by_all() { Tone::Good } else { Tone::Bad }, format!("  {failure}  {who}"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::cli::demo::series::Series;

    fn outcome(ending: Ending) -> Outcome {
        let mut tally = Tally::new(&Series::shipped().unwrap());
        for (place, account) in tally.accounts.iter_mut().enumerate() {
            (account.sent, account.acknowledged, account.rows) = (22_695, 22_695, 1_890);
            account.fired = Series::shipped().unwrap().failures.iter().map(|failure| failure.to).collect();
            account.fired.truncate(4 - place / 2);
            account.fired.extend((place == 1).then_some(Timestamp::from_millis(1_388_534_400_000)));
        }
        Outcome {
            ending,
            tally,
            losses: Vec::new(),
            took: Duration::from_secs(79),
            acknowledgement: None,
            program: "target/release/forebay".into(),
            kept: Some("/tmp/forebay-demo-1".into()),
        }
    }

    #[test]
    fn a_summary_says_who_noticed_what() {
        let lines: Vec<_> = outcome(Ending::Complete).lines().into_iter().map(|(_, line)| line).collect();
        expect![[r#"

            Played to the end: 68085 readings in 79 s, 862 readings/s
              machine  speaks                    sent   acked   rows  alerts
              press-1  MQTT QoS 1, JSON         22695   22695   1890       4
              press-2  CoAP CON, SenML CBOR     22695   22695   1890       5
              press-3  HTTP, SenML JSON         22695   22695   1890       3

            Failures that the data's owners labelled, and the first alert in each:
              2013-12-10 06:25 to 2013-12-12 05:35  2013-12-12 05:35 on all machines
              2013-12-15 17:50 to 2013-12-17 17:00  2013-12-17 17:00 on all machines
              2014-01-27 14:20 to 2014-01-29 13:30  2014-01-29 13:30 on all machines
              2014-02-07 14:55 to 2014-02-09 14:05  press-1 2014-02-09 14:05, press-2 2014-02-09 14:05, press-3 MISSED
              outside of them: 1 alerts in 11 weeks: 2014-01-01 00:00 (1 machine)

            Nothing lost: every reading was acknowledged and is counted by exactly one window row.
            (The last 6 of each machine: their window is still open.)

            Where to look next:
              what Forebay does and how     README.md
              what ran here: start from it  config/demo.toml
              every key with its default    config/forebay.toml
              who feeds whom                target/release/forebay check --graph --config config/demo.toml
              the same for your devices     target/release/forebay run --config config/demo.toml
              leaves journal and results    target/release/forebay demo --keep
            Kept: /tmp/forebay-demo-1/results.ndjson, demo.toml, data/"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn what_is_missed_or_lost_fails_and_ctrl_c_does_not() {
        assert_eq!(outcome(Ending::Complete).exit_code(), FAILED, "press-3 missed one");
        assert_eq!(outcome(Ending::Interrupted).exit_code(), OK);
        let mut good = outcome(Ending::Complete);
        good.tally.accounts[2].fired = good.tally.accounts[0].fired.clone();
        assert_eq!(good.exit_code(), OK);
        good.losses.push("press-1: 1 of 2 readings were acknowledged".into());
        assert_eq!(good.exit_code(), FAILED);
        assert!(
            good.lines().iter().any(|(tone, line)| *tone == Tone::Bad && line.starts_with("LOST  press-1"))
        );
    }
}
