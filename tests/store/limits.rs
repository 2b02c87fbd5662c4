//! What databases find hard: odd texts, several starters, no room to write.

use purgehook::run::Run;
use purgehook::store::{Accepted, Store};

use crate::databases::{Opened, delivery, on_both, run, run_id};
use crate::postgres;

on_both!(
    texts_with_nul_and_four_byte_characters_are_kept,
    a_store_that_can_be_written_to_says_so,
);

async fn texts_with_nul_and_four_byte_characters_are_kept(opened: Opened) {
    let store = &opened.store;
    let mut new = delivery(1, "f-1", "A to B");
    new.event = "pu\0sh".to_owned();
    new.runs = vec![Run {
        summary: "🧹 a\0b".to_owned(),
        ..run(1)
    }];

    assert_eq!(store.accept(&[new]).await.unwrap(), [Accepted::New]);

    let kept = store.run(&run_id(1)).await.unwrap().unwrap();
    assert_eq!(kept.summary, "🧹 a\u{fffd}b");
}

async fn a_store_that_can_be_written_to_says_so(opened: Opened) {
    let other = opened.another().await;

    let (one, two) = tokio::join!(opened.store.check_writable(), other.check_writable());

    one.unwrap();
    two.unwrap();
    assert_eq!(opened.store.next_due().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_starters_at_once_make_one_schema_on_sqlite() {
    let folder = tempfile::TempDir::new().unwrap();
    start_at_once(format!("sqlite://{}/store.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_starters_at_once_make_one_schema_on_postgres() {
    start_at_once(postgres::new_database().await).await;
}

async fn start_at_once(address: String) {
    let starters: Vec<_> = (0..4)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move { Store::open(&address).await.map(|_| ()) })
        })
        .collect();
    for starter in starters {
        starter.await.unwrap().unwrap();
    }
    Store::open(&address)
        .await
        .unwrap()
        .check_writable()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let address = "postgres://purgehook:a-password@127.0.0.1:1/purgehook";

    let error = Store::open(address).await.err().unwrap().to_string();

    assert!(error.contains("PostgreSQL"), "{error}");
    assert!(!error.contains("a-password"), "{error}");
}
