//! Deliveries to a webhook and into a file, nothing scripted.

use super::*;

#[tokio::test]
async fn a_webhook_that_comes_back_gets_every_row() {
    let failures = AtomicI64::new(2);
    let failing = move |_: &_| status(if failures.fetch_sub(1, Ordering::Relaxed) > 0 { 503 } else { 200 });
    let server = TestServer::start(failing).await;
    let world = World::new([]);
    let streams = vec![world.log.reader()];
    let courier = Courier::open(&webhook(server.url("/")), wants(), streams, world.ports()).unwrap();
    let running = world.run(courier);
    world.log.append(0, results(5));
    eventually("all rows are saved", || world.saved() == Some(5)).await;
    running.stop().await;
    assert_eq!(server.seen().len(), 2 + 5);
}

#[tokio::test]
async fn a_file_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out/rows.ndjson");
    let file = FileSink { path: path.clone(), rotate_bytes: 1 << 20, keep: 1 };
    let config = config(SinkKind::File(file));
    let world = World::new([]);
    let lines = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
    for round in 1..=3 {
        let courier = Courier::open(&config, wants(), vec![world.log.reader()], world.ports()).unwrap();
        let running = world.run(courier);
        world.log.append(0, results(4));
        eventually("the rows are in the file", || lines() == round * 4).await;
        running.stop().await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["type"], &first["values"]["n"]), (&"result".into(), &0.into()));
    assert_eq!(world.saved(), Some(12), "a sink whose kind changes goes on where it was");
}
