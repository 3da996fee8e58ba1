//! Which pipelines a lane computes, and which saved state belongs to which of them (pure).
//!
//! A state belongs to a generation: everything that it depends on. A lane's [`Member`]s are the generations it
//! computes or is about to; a changed text keeps those that are still in it, and every other is unborn until a
//! quiet replay has brought it to where the lane stands. Several pipelines may share one (they differ in
//! name, `having` or alerts only), and a pipeline may be renamed; so first by generation and name, then by
//! generation alone, each state to one pipeline.

use std::sync::Arc;

use crate::config::{Config, Key, Pipeline, Start};
use crate::model::bytes::{Input, Truncated, put_text, put_varint, put_zigzag};
use crate::model::{Offset, ResultId};

/// The grouping by sensor.
pub const SENSOR_GROUPING: u64 = 0;
const ALL_GROUPING: u64 = 1;

/// A pipeline in a lane: which generation of it, since when, and whether the lane itself computes it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What its state depends on.
    pub generation: u64,
    /// Its name.
    pub pipeline: Arc<str>,
    /// Names its grouping in the store.
    pub grouping: u64,
    /// Outputs caused below it are not emitted, nor do alerts judge them: they belong to the text before.
    pub born_at: Offset,
    /// Rows of windows that begin before this event time are partial; [`i64::MIN`]: none is.
    pub partial_before_ms: i64,
    /// Where it joined the lane; `None`: unborn, its birth is under way or waits for the one before.
    pub joined_at: Option<Offset>,
    /// The `Config` record that does not name it any more: what it is to put out below is still to be computed.
    pub gone_at: Option<Offset>,
}

impl Member {
    /// Appends the member to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.generation);
        put_text(out, &self.pipeline);
        put_varint(out, self.grouping);
        put_varint(out, self.born_at.0);
        put_zigzag(out, self.partial_before_ms);
        for offset in [self.joined_at, self.gone_at] {
            put_varint(out, offset.map_or(0, |at| at.0 + 1));
        }
    }

    /// Reads the member of [`Self::put`].
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are no member.
    pub fn take(input: &mut Input<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            generation: input.varint()?,
            pipeline: input.text()?.into(),
            grouping: input.varint()?,
            born_at: Offset(input.varint()?),
            partial_before_ms: input.zigzag()?,
            joined_at: input.varint()?.checked_sub(1).map(Offset),
            gone_at: input.varint()?.checked_sub(1).map(Offset),
        })
    }
}

/// Which birth: no two of a lane are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BirthId {
    /// Its pipelines are unborn since then: their [`Member::born_at`].
    pub unborn_since: Offset,
    /// Where it was decided: something new was named since the one before that had as old pipelines.
    pub decided_at: Offset,
}

impl BirthId {
    /// The birth of those among `members` who have waited longest, decided at `at`.
    pub fn of(members: &[Member], at: Offset) -> Option<Self> {
        let unborn = members.iter().filter(|member| member.joined_at.is_none());
        let unborn_since = unborn.map(|member| member.born_at).min()?;
        Some(Self { unborn_since, decided_at: at })
    }

    /// Appends the id, or that there is none, to `out`.
    pub fn put(this: Option<Self>, out: &mut Vec<u8>) {
        put_varint(out, this.map_or(0, |id| id.unborn_since.0 + 1));
        put_varint(out, this.map_or(0, |id| id.decided_at.0));
    }

    /// Reads what [`Self::put`] wrote.
    ///
    /// # Errors
    /// [`Truncated`] if the bytes are neither.
    pub fn take(input: &mut Input<'_>) -> Result<Option<Self>, Truncated> {
        let unborn_since = input.varint()?.checked_sub(1).map(Offset);
        let decided_at = Offset(input.varint()?);
        Ok(unborn_since.map(|unborn_since| Self { unborn_since, decided_at }))
    }
}

/// Where pipelines begin that a lane has not computed so far.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The oldest record kept: for `start = "earliest"`.
    pub oldest: Offset,
    /// The `Config` record that names them first, or what is nearest to it.
    pub now: Offset,
}

/// Every pipeline of `lane` as one that the lane has computed since `position`.
pub fn all(config: &Config, lane: &str, position: Offset) -> Vec<Member> {
    let beginning = Beginning { oldest: position, now: position };
    let mut members = follow(config, lane, &[], beginning);
    members.iter_mut().for_each(|member| member.joined_at = Some(position));
    members
}

/// The members of `lane` under `config`: in its order those of `members` that are still there, with what they have,
/// and unborn ones; then those that have gone before they were born.
pub fn follow(config: &Config, lane: &str, members: &[Member], beginning: Beginning) -> Vec<Member> {
    let pipelines: Vec<_> = config.pipelines.iter().filter(|pipeline| *pipeline.lane == *lane).collect();
    let (gone, mut members): (Vec<_>, Vec<_>) =
        members.iter().cloned().partition(|member| member.gone_at.is_some());
    members.sort_by_key(|member| member.joined_at.is_none());
    let saved: Vec<_> = members.iter().map(|member| (member.generation, &*member.pipeline)).collect();
    let mut pairs = pair(pipelines.iter().copied(), &saved);
    // A birth puts out rows under the name it began with.
    pairs.retain(|(at, from)| {
        members[*from].joined_at.is_some() || pipelines[*at].name == members[*from].pipeline
    });
    let kept = |at: usize| pairs.iter().find(|(paired, _)| *paired == at).map(|(_, from)| &members[*from]);
    let mut taken: Vec<u64> = pairs.iter().map(|(_, from)| members[*from].grouping).collect();
    let follow = |(at, pipeline): (usize, &&Pipeline)| match kept(at) {
        Some(member) => Member { pipeline: pipeline.name.clone(), ..member.clone() },
        None => unborn(pipeline, &mut taken, beginning),
    };
    let mut followed: Vec<_> = pipelines.iter().enumerate().map(follow).collect();
    let is_left = |at: usize| !pairs.iter().any(|(_, from)| *from == at) && members[at].joined_at.is_none();
    let left = (0..members.len()).filter(|at| is_left(*at));
    let left = left.map(|at| Member { gone_at: Some(beginning.now), ..members[at].clone() });
    followed.extend(gone.into_iter().chain(left));
    followed
}

/// Those of `members` that `config` has under the same names: what a birth goes on with. Another pipeline of the same
/// generation may be the lane's already.
pub fn kept(config: &Config, lane: &str, members: &[Member]) -> Vec<Member> {
    let nowhere = Beginning { oldest: Offset(u64::MAX), now: Offset(u64::MAX) };
    let mut kept = follow(config, lane, members, nowhere);
    let name = |member: &Member| (member.generation, member.pipeline.clone());
    let names: Vec<_> = members.iter().map(name).collect();
    kept.retain(|member| member.gone_at.is_none() && names.contains(&name(member)));
    kept
}

/// Says where `members` begin to read; `partial_before_ms` is told by their index in `config`.
pub fn begin(members: &mut [Member], config: &Config, position: Offset, partial_before_ms: &[(usize, i64)]) {
    for member in members {
        member.joined_at = Some(position);
        let of_member = |(index, _): &&(usize, i64)| config.pipelines[*index].name == member.pipeline;
        if let Some((_, before_ms)) = partial_before_ms.iter().find(of_member) {
            member.partial_before_ms = *before_ms;
        }
    }
}

fn unborn(pipeline: &Pipeline, taken: &mut Vec<u64>, beginning: Beginning) -> Member {
    let born_at = if pipeline.start == Start::Earliest { beginning.oldest } else { beginning.now };
    let mut grouping = grouping(&pipeline.key, &pipeline.name);
    if matches!(pipeline.key, Key::Fields(_)) && taken.contains(&grouping) {
        // A pipeline that was renamed keeps its grouping, so a new one of that name needs another.
        let own = ResultId::EMPTY.with_text(&pipeline.name).with_number(pipeline.generation);
        grouping = own.with_number(born_at.0).short();
    }
    taken.push(grouping);
    Member {
        generation: pipeline.generation,
        pipeline: pipeline.name.clone(),
        grouping,
        born_at,
        partial_before_ms: i64::MIN,
        joined_at: None,
        gone_at: None,
    }
}

fn grouping(key: &Key, pipeline: &str) -> u64 {
    match key {
        Key::Sensor => SENSOR_GROUPING,
        Key::All => ALL_GROUPING,
        Key::Fields(_) => ResultId::EMPTY.with_text(pipeline).short(),
    }
}

/// Pairs `pipelines` with what is saved, as generation and name: index of the pipeline, index of the state.
pub fn pair<'a>(pipelines: impl Iterator<Item = &'a Pipeline>, saved: &[(u64, &str)]) -> Vec<(usize, usize)> {
    let wanted: Vec<_> = pipelines.map(|pipeline| (pipeline.generation, &*pipeline.name)).collect();
    let (mut pairs, mut is_taken) = (Vec::new(), vec![false; saved.len()]);
    let by_name = |wanted: &(u64, &str), saved: &(u64, &str)| wanted == saved;
    let by_generation = |wanted: &(u64, &str), saved: &(u64, &str)| wanted.0 == saved.0;
    for same in [by_name, by_generation] {
        for (at, pipeline) in wanted.iter().enumerate() {
            if pairs.iter().any(|(paired, _)| *paired == at) {
                continue;
            }
            let fits = |(from, known): &(usize, &(u64, &str))| !is_taken[*from] && same(pipeline, known);
            if let Some((from, _)) = saved.iter().enumerate().find(fits) {
                is_taken[from] = true;
                pairs.push((at, from));
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipelines(text: &str) -> Vec<Pipeline> {
        let (config, _) =
            crate::config::from_text("c", text, std::path::Path::new("/")).expect("a configuration");
        config.pipelines
    }

    const TWINS: &str = r#"
        [source.s]
        topic = "s/{id}"
        [source.s.fields]
        v = {}
        [pipeline.all]
        from = ["s"]
        window = { kind = "tumbling", size = "1m" }
        select = { n = "count()" }
        [pipeline.big]
        from = ["s"]
        window = { kind = "tumbling", size = "1m" }
        select = { n = "count()" }
        having = "n > 2"
        [pipeline.other]
        from = ["s"]
        window = { kind = "tumbling", size = "2m" }
        select = { n = "count()" }
    "#;

    #[test]
    fn what_is_unborn_keeps_its_name_or_goes() {
        let (config, _) =
            crate::config::from_text("c", TWINS, std::path::Path::new("/")).expect("a configuration");
        let now = |at| Beginning { oldest: Offset(0), now: Offset(at) };
        let shown = |members: &[Member]| {
            let line = |member: &Member| {
                let Member { pipeline, born_at, joined_at, gone_at, .. } = member;
                let offset = |at: &Option<Offset>| at.map_or("-".to_owned(), |at| at.to_string());
                format!("{pipeline} {born_at} {} {}", offset(joined_at), offset(gone_at))
            };
            members.iter().map(line).collect::<Vec<_>>()
        };
        let member = |name: &str, born_at, joined_at| {
            let all = all(&config, "main", Offset(born_at));
            let known = all.iter().find(|member| *member.pipeline == *"all").expect("one of three");
            Member { pipeline: name.into(), joined_at, ..known.clone() }
        };
        // `all` was called `old` and is renamed; `big`, its twin, is new; `lost` has gone before it was born.
        let members = [member("lost", 5, None), member("old", 1, Some(Offset(2)))];
        let followed = follow(&config, "main", &members, now(9));
        assert_eq!(shown(&followed), ["all 1 2 -", "big 9 - -", "other 9 - -", "lost 5 - 9"]);
        assert_eq!(follow(&config, "main", &followed, now(12)), followed, "the same text says nothing new");
        assert_eq!(shown(&kept(&config, "main", &[member("lost", 5, Some(Offset(3)))])), [""; 0]);
        assert_eq!(shown(&kept(&config, "main", &[member("big", 5, None)])), ["big 5 - -"]);
    }

    #[test]
    fn twins_keep_their_own_states_and_a_renamed_pipeline_takes_its_old_one() {
        let pipelines = pipelines(TWINS);
        let [all, big, other] = [0, 1, 2].map(|at| pipelines[at].generation);
        assert_eq!(all, big, "they differ in name and `having` only");
        let paired = |saved: &[(u64, &str)]| {
            let mut pairs = pair(pipelines.iter(), saved);
            pairs.sort_unstable();
            pairs
        };
        assert_eq!(paired(&[(big, "big"), (all, "all"), (other, "other")]), [(0, 1), (1, 0), (2, 2)]);
        assert_eq!(paired(&[(all, "before"), (big, "big")]), [(0, 0), (1, 1)]);
        assert_eq!(paired(&[(all, "all")]), [(0, 0), (1, 0)][..1]);
        assert_eq!(paired(&[(9, "all")]), []);
    }
}
