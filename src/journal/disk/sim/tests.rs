//! The simulated disk keeps what it promises, and nothing else.

use std::path::PathBuf;

use super::*;

fn disk() -> (SimDisk, PathBuf) {
    let (disk, dir) = (SimDisk::new(1), PathBuf::from("/data"));
    super::super::ensure_dir(&disk, &dir).expect("a fresh disk");
    (disk, dir)
}

fn read(disk: &SimDisk, path: &Path) -> Option<Vec<u8>> {
    super::super::read_small(disk, path).expect("readable")
}

/// What of `change` was made durable: every image of many that holds it, and none that does not, counts.
fn images(disk: &SimDisk, path: &Path) -> std::collections::BTreeSet<Option<Vec<u8>>> {
    let mut dice = Dice::new(7);
    (0..200).map(|_| read(&disk.power_cut(&mut dice), path)).collect()
}

#[test]
fn synced_bytes_and_names_stay_and_others_may_go() {
    let (disk, dir) = disk();
    let path = dir.join("a");
    let file = disk.create(&path, 0).expect("creates");
    file.write_all_at(b"one", 0).expect("writes");
    file.sync_data().expect("syncs");
    assert!(images(&disk, &path).contains(&None), "the name is not durable");
    disk.sync_dir(&dir).expect("syncs");
    assert_eq!(images(&disk, &path), [Some(b"one".to_vec())].into());
    file.write_all_at(b"two", 0).expect("writes");
    assert_eq!(images(&disk, &path), [Some(b"one".to_vec()), Some(b"two".to_vec())].into());
    assert_eq!(read(&disk, &path), Some(b"two".to_vec()), "seen at once");
}

#[test]
fn writes_are_torn_at_sectors() {
    let (disk, dir) = disk();
    let path = dir.join("a");
    let file = disk.create(&path, 1024).expect("creates");
    file.sync_all().expect("syncs");
    disk.sync_dir(&dir).expect("syncs");
    file.write_all_at(&[1; 200], 412).expect("writes");
    let halves = |image: &Option<Vec<u8>>| image.as_ref().map(|bytes| (bytes[412], bytes[511], bytes[512]));
    let seen: std::collections::BTreeSet<_> = images(&disk, &path).iter().map(halves).collect();
    assert_eq!(seen, [(0, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1)].map(Some).into());
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let (disk, dir) = disk();
    let path = dir.join("a");
    let file = disk.create(&path, 0).expect("creates");
    disk.sync_dir(&dir).expect("syncs");
    let mut left = std::collections::BTreeSet::new();
    for n in 0..40_u8 {
        file.set_bytes(0).expect("cuts");
        file.sync_all().expect("syncs");
        file.write_all_at(&[n + 1], 0).expect("writes");
        disk.fail(Fault { on: None, nth: 1, failure: Failure::Broken, span: Span::Once });
        let error = file.sync_data().expect_err("fails");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        file.sync_data().expect("and then says all is well");
        assert_eq!(read(&disk, &path), Some(vec![n + 1]), "as seen in memory");
        left.insert(
            images(&disk, &path)
                .into_iter()
                .map(|image| image.is_some_and(|i| i.len() == 1))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(left, [vec![false], vec![true]].into(), "lost or kept, once and for all");
}

#[test]
fn it_fills_up_and_has_room_again() {
    let (disk, dir) = disk();
    disk.limit(1000);
    let file = disk.create(&dir.join("a"), 900).expect("creates");
    let error = file.write_all_at(&[1; 200], 850).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(disk.create(&dir.join("b"), 200).is_err());
    disk.remove(&dir.join("a")).expect("removes");
    assert!(disk.create(&dir.join("b"), 200).is_ok());
    assert_eq!((disk.used_bytes(), disk.free_bytes(&dir).expect("known")), (200, 800));
}

#[test]
fn directories_that_were_not_synced_take_their_files_along() {
    let disk = SimDisk::new(3);
    disk.create_dir(Path::new("/a")).expect("creates");
    disk.sync_dir(Path::new("/a")).expect("syncs");
    let mut dice = Dice::new(1);
    let found =
        (0..100).filter(|_| disk.power_cut(&mut dice).exists(Path::new("/a")).expect("known")).count();
    assert!((1..100).contains(&found), "{found} of 100 images have it");
}
