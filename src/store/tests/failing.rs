//! Power cuts between any two batches, and every operation failing once.

use std::io;

use proptest::prelude::*;

use super::super::memory::Failure;
use super::*;

/// What a caller does.
#[derive(Clone, Debug)]
enum Act {
    Put(u8, usize, u8),
    Sink(u8),
    Commit(u8),
    Flush,
    Dump,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4_u8, prop_oneof![0..40_usize, 6_900..21_100_usize], any::<u8>()).prop_map(|(k, size, byte)| Act::Put(k, size, byte)),
        1 => any::<u8>().prop_map(Act::Sink),
        1 => any::<u8>().prop_map(Act::Commit),
        1 => Just(Act::Flush),
        1 => Just(Act::Dump),
    ];
    prop::collection::vec(act, 1..20)
}

/// What must be read back, by name.
type Model = std::collections::BTreeMap<String, Vec<u8>>;

const CURSORS: [&str; 2] = ["lane/main", "sink/log"];

fn run(store: &Store, act: &Act, model: &mut Model) -> Result<(), StoreError> {
    let mut set = |name: &str, value: Vec<u8>| drop(model.insert(name.to_owned(), value));
    match *act {
        Act::Put(k, size, byte) => {
            let (name, state) = (format!("k{k}"), vec![byte; size]);
            put(store, &name, &state, &[byte])?;
            set(&name, state);
            set(&format!("due {name}"), vec![byte]);
        }
        Act::Sink(n) => {
            let text = format!("{{\"at\":{n}}}");
            store.put_sink("sink/log", &text, at(n.into()))?;
            set("sink/log", text.into_bytes());
        }
        Act::Commit(n) => {
            store.commit("lane/main", &[n], at(n.into()))?;
            set("lane/main", vec![n]);
        }
        Act::Flush => store.flush()?,
        Act::Dump => store.dump()?,
    }
    Ok(())
}

fn read(store: &Store) -> Model {
    contents(store, &CURSORS).into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// After a power cut exactly what a prefix of the batches made is there, everything durable in it, and
    /// nothing is taken for damaged.
    #[test]
    fn a_power_cut_leaves_a_prefix_and_is_no_damage(acts in acts(), survivors in 0..20_usize) {
        let mut site = Site::new();
        let mut model = Model::new();
        // What is there after so many batches since the last flush.
        let mut timeline = vec![Model::new()];
        let store = site.open().expect("opens");
        for act in &acts {
            run(&store, act, &mut model).expect("works");
            timeline.truncate(site.disk.unflushed());
            timeline.push(model.clone());
        }
        let survivors = survivors.min(site.disk.unflushed());
        site.power_cut(survivors);
        drop(store);
        let (store, damaged) = site.reopened();
        prop_assert_eq!(damaged, 0);
        // A sink's commit needs no flush.
        let mut expected = timeline[survivors].clone();
        expected.extend(model.remove_entry("sink/log"));
        prop_assert_eq!(read(&store), expected);
    }
}

/// Every operation of a short life fails once: with a full disk, with an error, or from then on until it is healed.
/// What was durable stays, and the store works again without anybody's help.
#[test]
fn any_operation_may_fail_and_nothing_durable_is_lost() {
    let rounds = if is_long() { 8 } else { 2 };
    let life: Vec<Act> = (0..rounds)
        .flat_map(|n| {
            [Act::Put(n % 3, 9_000 * usize::from(n % 2), n), Act::Sink(n), Act::Commit(n), Act::Dump]
        })
        .collect();
    let operations = {
        let site = Site::new();
        let store = site.open().expect("opens");
        life.iter().for_each(|act| run(&store, act, &mut Model::new()).expect("works"));
        site.disk.operations()
    };
    assert!(operations > 40, "{operations}");
    let full = io::ErrorKind::StorageFull;
    for failure in [Failure::Once(full), Failure::Once(io::ErrorKind::Other), Failure::FromNowOn(full)] {
        for operation in 0..operations {
            live(&life, operation, failure);
        }
    }
}

fn live(life: &[Act], operation: u64, failure: Failure) {
    let site = Site::new();
    site.disk.fail(operation, failure);
    let Ok(store) = site.open() else {
        site.disk.heal();
        return drop(site.open().expect("opens when healed"));
    };
    let (mut model, mut failed) = (Model::new(), 0);
    for act in life {
        if run(&store, act, &mut model).is_err() {
            failed += 1;
            if failed > 2 {
                site.disk.heal();
            }
            // Tried again as callers do.
            while let Err(error) = run(&store, act, &mut model) {
                assert!(!error.is_damage(), "{error}");
                site.disk.heal();
            }
        }
    }
    assert_eq!(read(&store), model, "operation {operation}, {failure:?}");
    drop(store);
    site.disk.heal();
    let (store, damaged) = site.reopened();
    assert_eq!((damaged, read(&store)), (0, model), "operation {operation}, {failure:?}");
}
