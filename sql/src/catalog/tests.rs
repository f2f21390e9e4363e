//! The catalog's encoding, oids, names and dependants.

use std::collections::BTreeMap;

use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::*;

fn view(catalog: &mut Catalog, name: &str, reads: &[u32]) -> u32 {
    let oid = catalog.allocate();
    let body = ViewBody {
        relation: oid,
        text: format!("SELECT 1 AS {name}"),
        settings: BTreeMap::new(),
        reads: reads.to_vec(),
        meaning: Meaning::default(),
        options: BTreeMap::new(),
    };
    let columns = vec![Column { name: "a".into(), data_type: PgType::Numeric(Some((10, 2))), not_null: false }];
    let data = ObjectData::View(View { body, replacement: None, indexes: Vec::new() });
    catalog.put(Object { oid, schema: PUBLIC.into(), name: name.into(), columns, data });
    oid
}

#[test]
fn decoding_gives_back_what_was_encoded() {
    let mut catalog = Catalog::default();
    let first = view(&mut catalog, "a", &[]);
    view(&mut catalog, "b", &[first]);
    assert_eq!(Catalog::decode(&catalog.encode().unwrap()).unwrap(), catalog);
}

#[test]
fn another_format_is_refused_by_its_number() {
    let error = Catalog::decode(br#"{"format":9,"whatever":true}"#).unwrap_err();
    assert_eq!(error.message(), "the catalog has format 9, this binary reads 1");
    assert_eq!(Catalog::decode(b"nonsense").unwrap_err().state().code(), "XX001");
}

#[test]
fn oids_are_never_used_again() {
    let mut catalog = Catalog::default();
    let first = view(&mut catalog, "a", &[]);
    assert_eq!(first, 16384);
    catalog.remove(first);
    let decoded = &mut Catalog::decode(&catalog.encode().unwrap()).unwrap();
    assert_eq!(view(decoded, "a", &[]), 16385);
}

#[test]
fn the_closure_holds_every_dependant_once_and_in_order() {
    let mut catalog = Catalog::default();
    let a = view(&mut catalog, "a", &[]);
    let b = view(&mut catalog, "b", &[a]);
    let c = view(&mut catalog, "c", &[a, b]);
    let other = view(&mut catalog, "other", &[]);
    assert_eq!(catalog.closure(&[a]), vec![b, c]);
    assert_eq!(catalog.closure(&[a, b]), vec![c]);
    assert_eq!(catalog.closure(&[other]), Vec::<u32>::new());
}

#[test]
fn the_search_path_decides_names_without_a_schema() {
    let mut catalog = Catalog::default();
    let a = view(&mut catalog, "a", &[]);
    let path = [PUBLIC.to_string()];
    assert_eq!(catalog.find(None, "a", &path).map(|object| object.oid), Some(a));
    assert_eq!(catalog.find(None, "a", &[]), None);
    assert_eq!(catalog.find(Some("thalweg"), "a", &path), None);
}

#[test]
fn near_names_are_found_and_far_ones_are_not() {
    let names = ["brand_funnel", "event_type_counts", "ev"];
    assert_eq!(nearest("brand_funel", names.into_iter()), Some("brand_funnel"));
    assert_eq!(nearest("event_types", names.into_iter()), None);
    assert_eq!(nearest("et", names.into_iter()), Some("ev"));
}
