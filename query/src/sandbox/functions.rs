//! The functions that queries may call. A function that a new DataFusion brings is not among them until someone looked at it.

use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::AggregateUDF;

/// Scalar functions, by their first name (aliases come with them).
const SCALARS: &[&str] = &[
    // numbers
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot", "degrees", "exp", "factorial",
    "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2", "nanvl", "pi", "power", "radians", "random", "round", "signum", "sin",
    "sinh", "sqrt", "tan", "tanh", "trunc", // time
    "current_date", "current_time", "date_bin", "date_part", "date_trunc", "from_unixtime", "make_date", "make_time", "now", "to_char",
    "to_date", "to_local_time", "to_time", "to_timestamp", "to_timestamp_micros", "to_timestamp_millis", "to_timestamp_nanos",
    "to_timestamp_seconds", "to_unixtime", // text
    "ascii", "bit_length", "btrim", "character_length", "chr", "concat", "concat_ws", "contains", "ends_with", "find_in_set", "initcap", "left",
    "levenshtein", "lower", "lpad", "ltrim", "octet_length", "overlay", "regexp_count", "regexp_instr", "regexp_like", "regexp_match",
    "regexp_replace", "repeat", "replace", "reverse", "right", "rpad", "rtrim", "split_part", "starts_with", "strpos", "substr",
    "substr_index", "to_hex", "translate", "upper", "uuid", "decode", "encode", crate::guard::CONCAT_OPERATOR, // choices
    "coalesce", "greatest", "least", "nullif", "nvl", "nvl2", // types
    "arrow_cast", "arrow_try_cast", "arrow_typeof", "cast_to_type", "try_cast_to_type", "version", // structs, maps and arrays
    "array_any_value", "array_append", "array_concat", "array_dims", "array_distance", "array_distinct", "array_element", "array_except",
    "array_has", "array_has_all", "array_has_any", "array_intersect", "array_length", "array_max", "array_min", "array_ndims",
    "array_pop_back", "array_pop_front", "array_position", "array_positions", "array_prepend", "array_remove", "array_remove_all",
    "array_remove_n", "array_repeat", "array_replace", "array_replace_all", "array_replace_n", "array_resize", "array_reverse", "array_slice",
    "array_sort", "array_sum", "array_avg", "array_product", "array_compact", "array_to_string", "array_union", "arrays_zip", "cardinality",
    "cosine_distance", "empty", "flatten", "generate_series", "get_field", "inner_product", "make_array", "map", "map_entries", "map_extract",
    "map_keys", "map_values", "named_struct", "range", "row", "string_to_array", "struct", "union_extract", "union_tag",
];

/// Whether queries may call a scalar function.
pub(crate) fn is_allowed(name: &str) -> bool {
    SCALARS.contains(&name)
}

/// Whether queries may call a table function.
pub(crate) fn is_allowed_table_function(name: &str) -> bool {
    ["generate_series", "range", "unnest"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The aggregate functions: all of them only fold what they are given, in memory that the pool counts.
pub(crate) fn allowed_aggregates() -> Vec<Arc<AggregateUDF>> {
    SessionStateDefaults::default_aggregate_functions()
}
