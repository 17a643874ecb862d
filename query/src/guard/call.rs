//! A scalar function that computes the size of its result before it makes it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ExprSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use super::{check_growth, nesting, series};

/// How the size of a result follows from the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Growth {
    /// The first argument, as many times as the second says.
    Repeat,
    /// As many characters or elements as the second argument says.
    Pad,
    /// All arguments together.
    Sum,
    /// The first argument with every match of the second replaced by the third.
    Replace,
    /// The first argument times the third, at worst.
    Product,
    /// As many numbers as a series has.
    Series,
    /// The first argument's elements, each with the second beside it.
    Joined,
}

impl Growth {
    /// The growth of a function, if it can grow beyond its arguments.
    pub(crate) fn of(function: &str) -> Option<Self> {
        match function {
            "repeat" | "array_repeat" => Some(Growth::Repeat),
            "lpad" | "rpad" | "array_resize" => Some(Growth::Pad),
            "concat" | "concat_ws" | "overlay" | "array_concat" | "array_append"
            | "array_prepend" | "make_array" | "array_union" | "struct" | "row"
            | "named_struct" | "map" => Some(Growth::Sum),
            "replace" => Some(Growth::Replace),
            "regexp_replace" => Some(Growth::Product),
            "generate_series" | "range" => Some(Growth::Series),
            "array_to_string" => Some(Growth::Joined),
            _ => None,
        }
    }
}

/// A function with a bound on its result.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Guarded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Guarded {
    /// Guards a function.
    pub(crate) fn new(inner: Arc<ScalarUDF>, growth: Growth) -> Self {
        Guarded { inner, growth }
    }

    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let constant = args
            .args
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let sizes = Sizes {
            args: &args.args,
            rows,
        };
        let (mut longest, mut all) = (0u64, 0u64);
        let mut add = |size: u64| {
            longest = longest.max(size);
            all = all.saturating_add(size);
        };
        match self.growth {
            Growth::Repeat => {
                let (length, times) = (sizes.bytes(0)?, sizes.number(1)?);
                (0..rows).for_each(|row| add(length[row].max(1).saturating_mul(times[row])));
            }
            Growth::Pad => {
                // 4 bytes for a character; an element takes 8 and is counted as two of them.
                let (length, size) = (sizes.bytes(0)?, sizes.number(1)?);
                (0..rows).for_each(|row| add(length[row].max(size[row].saturating_mul(4))));
            }
            Growth::Sum => {
                let lengths = (0..args.args.len())
                    .map(|index| sizes.bytes(index))
                    .collect::<Result<Vec<_>>>()?;
                (0..rows).for_each(|row| add(lengths.iter().map(|length| length[row]).sum()));
            }
            Growth::Replace => {
                let (text, from, to) = (sizes.text(0)?, sizes.text(1)?, sizes.bytes(2)?);
                let (text, from) = (text.as_string::<i32>(), from.as_string::<i32>());
                (0..rows).for_each(|row| {
                    let matches = if from.value(row).is_empty() {
                        0
                    } else {
                        text.value(row).matches(from.value(row)).count() as u64
                    };
                    add((text.value_length(row) as u64)
                        .saturating_add(matches.saturating_mul(to[row])));
                });
            }
            Growth::Product => {
                let (text, to) = (sizes.bytes(0)?, sizes.bytes(2)?);
                // A pattern can match between any two characters, and a replacement can repeat what was matched.
                (0..rows).for_each(|row| add((text[row] + 1).saturating_mul(to[row] + 1)));
            }
            Growth::Series => {
                let arrays = args
                    .args
                    .iter()
                    .map(|value| value.to_array(rows))
                    .collect::<Result<Vec<_>>>()?;
                for row in 0..rows {
                    let values = arrays
                        .iter()
                        .map(|array| ScalarValue::try_from_array(array, row))
                        .collect::<Result<Vec<_>>>()?;
                    add(series::rows(&values.iter().collect::<Vec<_>>())
                        .unwrap_or(0)
                        .saturating_mul(8));
                }
            }
            Growth::Joined => {
                let (elements, delimiter) = (sizes.bytes(0)?, sizes.bytes(1)?);
                (0..rows).for_each(|row| {
                    add(elements[row]
                        .saturating_add(elements[row].saturating_mul(delimiter[row]) / 4))
                });
            }
        }
        Ok(check_growth(self.inner.name(), longest, all)?)
    }
}

/// The arguments' sizes, row by row.
struct Sizes<'a> {
    args: &'a [ColumnarValue],
    rows: usize,
}

impl Sizes<'_> {
    fn array(&self, index: usize) -> Result<Option<ArrayRef>> {
        self.args
            .get(index)
            .map(|value| value.to_array(self.rows))
            .transpose()
    }

    /// Bytes of an argument's values: exact for texts, by the average for others. An argument that is not there has none.
    fn bytes(&self, index: usize) -> Result<Vec<u64>> {
        let Some(array) = self.array(index)? else {
            return Ok(vec![0; self.rows]);
        };
        let lengths = |length: &dyn Fn(usize) -> usize| {
            (0..self.rows).map(|row| length(row) as u64).collect()
        };
        Ok(match array.data_type() {
            DataType::Utf8 => lengths(&|row| array.as_string::<i32>().value(row).len()),
            DataType::LargeUtf8 => lengths(&|row| array.as_string::<i64>().value(row).len()),
            DataType::Utf8View => lengths(&|row| array.as_string_view().value(row).len()),
            DataType::List(_) => lengths(&|row| {
                let values = array.as_list::<i32>().value(row);
                values
                    .to_data()
                    .get_slice_memory_size()
                    .unwrap_or_else(|_| values.get_array_memory_size())
            }),
            other => {
                let size = |array: &ArrayRef| {
                    array
                        .to_data()
                        .get_slice_memory_size()
                        .unwrap_or_else(|_| array.get_array_memory_size())
                };
                let width = other
                    .primitive_width()
                    .unwrap_or_else(|| size(&array) / self.rows.max(1));
                vec![width as u64; self.rows]
            }
        })
    }

    /// An argument's values as numbers; what is negative or null counts as 0.
    fn number(&self, index: usize) -> Result<Vec<u64>> {
        let Some(array) = self.array(index)? else {
            return Ok(vec![0; self.rows]);
        };
        let numbers = cast(&array, &DataType::Int64)?;
        let numbers: &Int64Array = numbers.as_primitive();
        Ok(numbers
            .iter()
            .map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0))
            .collect())
    }

    fn text(&self, index: usize) -> Result<ArrayRef> {
        let array = self
            .array(index)?
            .unwrap_or_else(|| arrow::array::new_null_array(&DataType::Utf8, self.rows));
        Ok(cast(&array, &DataType::Utf8)?)
    }
}

// Forwards what decides the result's type and name. `simplify` is not forwarded: a rewritten call would escape the guard.
impl ScalarUDFImpl for Guarded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        nesting::check_value(args.arg_fields.iter().map(|field| field.data_type()))?;
        self.inner.inner().return_field_from_args(args)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        #[expect(deprecated, reason = "the wrapped function may still answer only here")]
        self.inner.inner().is_nullable(args, schema)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.inner().invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
