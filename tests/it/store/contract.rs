//! What every store promises.

use futures_util::future::join_all;
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::{Expect, Fields, Folder, GrantStore, RecordKey, StoreError};
use spapi_sidecar::tenant::{AppId, GrantKind, TenantId};

pub(crate) fn app(id: &str) -> RecordKey {
    RecordKey::App(AppId::parse(id).unwrap())
}

pub(crate) fn grant(id: &str) -> RecordKey {
    RecordKey::Grant(TenantId::parse(id).unwrap())
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Opaque::new((*value).to_owned())))
        .collect()
}

/// The fields of a record as text, in the order of their names.
pub(crate) async fn shown(store: &dyn GrantStore, key: &RecordKey) -> Vec<(String, String)> {
    let record = store.read(key).await.unwrap().unwrap();
    let fields = record.fields.iter();
    fields
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect()
}

pub(crate) async fn what_was_written_is_read_back(store: &dyn GrantStore) {
    let acme = TenantId::parse("acme").unwrap();
    let grantless = GrantKind::Grantless("sellingpartnerapi::notifications".into());
    for key in [
        app("erp"),
        grant("acme"),
        RecordKey::Profile(acme.clone()),
        RecordKey::ProxyKey(acme.clone()),
        RecordKey::Token(acme.clone(), GrantKind::Refresh),
        RecordKey::Token(acme, grantless),
        RecordKey::Fleet,
        RecordKey::Phantom,
    ] {
        let value = format!("value of {key}");
        let written = fields(&[("one", value.as_str()), ("two", "2")]);
        let version = store.write(&key, written, Expect::Absent).await.unwrap();
        let record = store.read(&key).await.unwrap().unwrap();
        assert_eq!(record.version, version, "{key}");
        assert_eq!(record.fields.len(), 2, "{key}");
        assert_eq!(record.fields["one"].expose(), value, "{key}");
        assert_eq!(record.fields["two"].expose(), "2", "{key}");
    }
}

pub(crate) async fn a_write_replaces_the_whole_record(store: &dyn GrantStore) {
    let key = app("erp");
    let first = fields(&[("client_id", "a"), ("client_secret_next", "b")]);
    store.write(&key, first, Expect::Any).await.unwrap();
    let second = fields(&[("client_id", "c")]);
    store.write(&key, second, Expect::Any).await.unwrap();
    let want = vec![("client_id".to_owned(), "c".to_owned())];
    assert_eq!(shown(store, &key).await, want);
}

pub(crate) async fn an_unwritten_record_is_absent(store: &dyn GrantStore) {
    assert!(store.read(&app("erp")).await.unwrap().is_none());
    assert!(store.list(Folder::Apps).await.unwrap().is_empty());
    assert!(store.list(Folder::Tenants).await.unwrap().is_empty());
    // and stays so next to one that is there
    let there = store
        .write(&app("other"), fields(&[("a", "b")]), Expect::Any)
        .await;
    there.unwrap();
    assert!(store.read(&app("erp")).await.unwrap().is_none());
}

pub(crate) async fn a_version_grows_with_every_write(store: &dyn GrantStore) {
    let key = grant("acme");
    let mut last = 0;
    for n in 0..5 {
        let value = n.to_string();
        let expect = if n == 0 {
            Expect::Absent
        } else if n % 2 == 0 {
            Expect::Version(last)
        } else {
            Expect::Any
        };
        let version = store
            .write(&key, fields(&[("refresh_token", &value)]), expect)
            .await
            .unwrap();
        assert!(version > last);
        assert_eq!(store.read(&key).await.unwrap().unwrap().version, version);
        last = version;
    }
}

pub(crate) async fn a_stale_version_is_a_conflict_and_changes_nothing(store: &dyn GrantStore) {
    let key = grant("acme");
    let first = store
        .write(&key, fields(&[("refresh_token", "1")]), Expect::Absent)
        .await
        .unwrap();
    let second = store
        .write(
            &key,
            fields(&[("refresh_token", "2")]),
            Expect::Version(first),
        )
        .await
        .unwrap();
    for stale in [first, second + 1] {
        let refused = store
            .write(
                &key,
                fields(&[("refresh_token", "3")]),
                Expect::Version(stale),
            )
            .await;
        let Err(StoreError::Conflict(place)) = refused else {
            panic!("{refused:?}")
        };
        assert!(place.contains("tenants/acme/grant"), "{place}");
    }
    let record = store.read(&key).await.unwrap().unwrap();
    assert_eq!(
        (record.version, record.fields["refresh_token"].expose()),
        (second, "2")
    );
}

pub(crate) async fn absent_is_a_conflict_where_a_record_is(store: &dyn GrantStore) {
    let key = app("erp");
    let write = |value: &'static str| {
        let key = key.clone();
        async move {
            store
                .write(&key, fields(&[("client_id", value)]), Expect::Absent)
                .await
        }
    };
    write("1").await.unwrap();
    assert!(matches!(write("2").await, Err(StoreError::Conflict(_))));
    let want = vec![("client_id".to_owned(), "1".to_owned())];
    assert_eq!(shown(store, &key).await, want);
}

pub(crate) async fn version_zero_never_holds(store: &dyn GrantStore) {
    let key = app("erp");
    for there in [false, true] {
        if there {
            let write = store
                .write(&key, fields(&[("a", "b")]), Expect::Absent)
                .await;
            write.unwrap();
        }
        let refused = store
            .write(&key, fields(&[("a", "c")]), Expect::Version(0))
            .await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{there}");
    }
}

pub(crate) async fn ids_are_listed_sorted_and_once(store: &dyn GrantStore) {
    for id in ["b", "a-b", "a", "a_c"] {
        let write = store
            .write(&app(id), fields(&[("x", "y")]), Expect::Any)
            .await;
        write.unwrap();
    }
    for id in ["zeta", "acme", "acme-eu"] {
        let tenant = TenantId::parse(id).unwrap();
        for key in [grant(id), RecordKey::ProxyKey(tenant)] {
            let write = store.write(&key, fields(&[("x", "y")]), Expect::Any).await;
            write.unwrap();
        }
    }
    let phantom = store
        .write(&RecordKey::Phantom, fields(&[("key", "k")]), Expect::Any)
        .await;
    phantom.unwrap();
    assert_eq!(
        store.list(Folder::Apps).await.unwrap(),
        ["a", "a-b", "a_c", "b"]
    );
    assert_eq!(
        store.list(Folder::Tenants).await.unwrap(),
        ["acme", "acme-eu", "zeta"]
    );
}

pub(crate) async fn odd_bytes_survive(store: &dyn GrantStore) {
    let long = "x".repeat(100_000);
    let odd = [
        "",
        " leading and trailing ",
        "two\nlines\r\n",
        "quotes \" ' \\ and {braces}",
        "nul \0 and bell \u{7}",
        "Ünïcödé 漢字 🗝 \u{2028}",
        "Atzr|IwEBIA+/==%7C&x=1",
        "12345678901234567890",
        "true",
        "null",
        long.as_str(),
    ];
    let names: Vec<String> = (0..odd.len()).map(|n| format!("field {n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(odd).collect();
    for key in [app("erp"), grant("acme")] {
        store
            .write(&key, fields(&pairs), Expect::Any)
            .await
            .unwrap();
        let record = store.read(&key).await.unwrap().unwrap();
        for (name, value) in &pairs {
            assert_eq!(record.fields[*name].expose(), *value, "{key} {name}");
        }
    }
}

pub(crate) async fn of_a_hundred_writers_of_one_version_one_wins(store: &dyn GrantStore) {
    let key = RecordKey::Token(TenantId::parse("acme").unwrap(), GrantKind::Refresh);
    let mut expect = Expect::Absent;
    for _round in 0..3 {
        let writers = (0..100).map(|n| {
            let (key, value) = (key.clone(), n.to_string());
            async move {
                let outcome = store
                    .write(&key, fields(&[("nonce", &value)]), expect)
                    .await;
                (value, outcome)
            }
        });
        let mut winners = Vec::new();
        for (value, outcome) in join_all(writers).await {
            match outcome {
                Ok(version) => winners.push((value, version)),
                Err(StoreError::Conflict(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let [(value, version)] = winners.as_slice() else {
            panic!("{winners:?}")
        };
        let record = store.read(&key).await.unwrap().unwrap();
        assert_eq!(record.version, *version);
        assert_eq!(record.fields["nonce"].expose(), value);
        expect = Expect::Version(*version);
    }
}
