//! How much structs, lists and maps may nest: a struct of a struct twice, forty times over, has a million million types, and whoever walks
//! them all never comes back.

use arrow::datatypes::DataType;

use crate::QueryError;

/// The most types, with all they nest, in one value. 1,000: labels have 4.
const VALUE_TYPES_MAX: usize = 1_000;

/// The most types in the columns of one node of a plan. 10,000: 64 tables have 2,000.
const NODE_TYPES_MAX: usize = 10_000;

/// Refuses a call whose arguments together nest too much.
pub(crate) fn check_value<'a>(types: impl Iterator<Item = &'a DataType>) -> Result<(), QueryError> {
    check(types, VALUE_TYPES_MAX, "VALUE_TYPES_MAX, fixed")
}

/// Refuses a node of a plan whose columns nest too much.
pub(crate) fn check_node<'a>(types: impl Iterator<Item = &'a DataType>) -> Result<(), QueryError> {
    check(types, NODE_TYPES_MAX, "NODE_TYPES_MAX, fixed")
}

fn check<'a>(
    mut types: impl Iterator<Item = &'a DataType>,
    max: usize,
    setting: &'static str,
) -> Result<(), QueryError> {
    let mut left = max;
    if types.all(|data_type| within(data_type, &mut left)) {
        return Ok(());
    }
    Err(QueryError::Limit {
        what: "the statement nests structs, maps or lists too much".to_owned(),
        value: format!("{max} types"),
        setting,
        help: "Use fewer and flatter ones",
    })
}

/// Counts a type and those inside it off `left`; false once nothing is left.
fn within(data_type: &DataType, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else {
        return false;
    };
    *left = rest;
    match data_type {
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _)
        | DataType::RunEndEncoded(_, inner) => within(inner.data_type(), left),
        DataType::Struct(fields) => fields.iter().all(|field| within(field.data_type(), left)),
        DataType::Union(fields, _) => fields
            .iter()
            .all(|(_, field)| within(field.data_type(), left)),
        DataType::Dictionary(_, value) => within(value, left),
        _ => true,
    }
}
