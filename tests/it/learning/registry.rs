//! What becomes of routers in the registry: those that nobody goes back to, and those that are damaged.

use std::{fs, path::Path, time::Duration};

use coterie::{
    ids::RouterId,
    registry::Registered,
    store::{Promoter, Store},
};
use serde_json::json;

use super::House;

/// Enters the router in a folder and returns its id.
pub(super) async fn register(store: &Store, folder: &Path, id: &str) -> RouterId {
    let id = RouterId::new(id);
    let registered = Registered {
        id: id.clone(),
        folder: folder.to_owned(),
        parent: None,
        registered_at_ms: 1,
        data_sha256: "00".to_owned(),
        judgement: None,
    };
    store.register(&registered).await.unwrap();
    id
}

pub(super) const PROMOTER: Promoter<'_> = Promoter {
    by: "a test",
    why: None,
    expected: None,
};

#[tokio::test(flavor = "multi_thread")]
async fn routers_that_nobody_goes_back_to_are_pruned() {
    let house = House::new().await;
    let store = house.coterie.store().await;
    let routers = house.folder.path().join("routers");
    let mut ids = Vec::new();
    for name in ["first", "refused", "second", "newest"] {
        let folder = routers.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), "{}").unwrap();
        fs::write(folder.join("router.safetensors"), [0; 98]).unwrap();
        let registered = Registered {
            id: RouterId::new(name),
            folder,
            parent: None,
            registered_at_ms: i64::try_from(ids.len()).unwrap(),
            data_sha256: "00".to_owned(),
            judgement: None,
        };
        store.register(&registered).await.unwrap();
        ids.push(registered.id);
    }
    let old = Registered {
        id: RouterId::new("old"),
        folder: routers.join("old"),
        parent: None,
        registered_at_ms: -1,
        data_sha256: "00".to_owned(),
        judgement: None,
    };
    store.register(&old).await.unwrap();
    store.promote(&ids[0], PROMOTER).await.unwrap();
    store.promote(&ids[2], PROMOTER).await.unwrap();
    let there = || {
        let is_there = |name: &&str| routers.join(name).exists();
        ["first", "refused", "second", "newest"]
            .into_iter()
            .filter(is_there)
            .collect::<Vec<_>>()
    };

    let call = ["routers", "prune", "--keep", "1"];
    let told = house.coterie.printed(&[&call[..], &["--dry-run"]].concat());
    assert_eq!(told["deleted"][0]["router"], "refused", "{told:#}");
    assert_eq!(there().len(), 4);
    let told = house.coterie.printed(&call);
    assert_eq!(
        (&told["bytes"], &told["kept"]),
        (&json!(100), &json!(3)),
        "{told:#}"
    );
    assert_eq!(there(), ["first", "second", "newest"]);
    let told = house.coterie.printed(&call);
    assert_eq!(told["deleted"], json!([]));
    // What was judged of it is still to be read, and it is not put in force.
    let listed = house.coterie.printed(&["routers", "list"]);
    assert_eq!(listed["routers"].as_array().unwrap().len(), 5);
    let promoted = house.coterie.run(&["routers", "promote", "refused"]);
    assert_eq!(promoted.status.code(), Some(1));
    house.coterie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_router_that_is_damaged_leaves_the_one_in_force_where_it_is() {
    let house = House::new().await;
    let first = house.accuracy().await.1;
    let folder = house.folder.path().join("routers/damaged");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("manifest.json"), "{}").unwrap();
    let store = house.coterie.store().await;
    let damaged = register(&store, &folder, "damaged").await;
    store.promote(&damaged, PROMOTER).await.unwrap();
    house.coterie.look_at_registry();
    for tries in 0.. {
        let metrics = house.coterie.read("/metrics").await;
        if metrics.contains("coterie_router_changes_total{result=\"refused\"}") {
            break;
        }
        assert!(tries < 1000, "{metrics}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(house.accuracy().await.1, first);
    // What decides from the registry starts all the same, with the router before.
    let told = house.coterie.printed(&["route", "Which dough?"]);
    assert_eq!(told["router"], first.as_str());

    // Nor is it gone back to: the server would keep what it has, and nobody would know.
    let whole = register(&store, &house.folder.path().join("routers/other"), "other").await;
    store.promote(&whole, PROMOTER).await.unwrap();
    let back = house.coterie.run(&["routers", "rollback"]);
    let words = String::from_utf8_lossy(&back.stderr).into_owned();
    assert_eq!(back.status.code(), Some(1), "{words}");
    assert!(
        words.contains("router damaged, which was in force before, cannot be opened"),
        "{words}"
    );
    let in_force = store.promotion().await.unwrap().unwrap();
    assert_eq!(in_force.router.as_ref(), Some(&whole));
    house.coterie.stop().await;
}
