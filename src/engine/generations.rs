//! Which saved state belongs to which pipeline (pure).
//!
//! A state belongs to a generation: everything that it depends on. Several pipelines may share one (they differ in
//! name, `having` or alerts only), and a pipeline may be renamed; so first by generation and name, then by
//! generation alone, each state to one pipeline.

use crate::config::Pipeline;

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
