//! What stands in the text for a call: `a || b`, `[a, b]`, `{a: b}`, `MAP {a: b}`. DataFusion's own calls know no bound; these do.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawDictionaryExpr,
};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{GUARDED, check_growth};

/// The name of the function behind `||`.
pub(crate) const CONCAT_OPERATOR: &str = "concat_operator";

/// The function behind `||`.
pub(crate) fn operator() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ConcatOperator {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

/// Plans `a || b` as [`operator`], unless it joins arrays or bytes, and literals of arrays, structs and maps as guarded calls.
#[derive(Debug)]
pub(crate) struct Planner;

/// A call of a guarded function.
fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    match GUARDED.get(name) {
        Some(function) => Ok(function.call(args)),
        None => Err(DataFusionError::Internal(format!(
            "the function `{name}` is not there"
        ))),
    }
}

impl ExprPlanner for Planner {
    fn plan_array_literal(
        &self,
        items: Vec<Expr>,
        _: &DFSchema,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call("make_array", items)?))
    }

    fn plan_struct_literal(
        &self,
        args: Vec<Expr>,
        is_named_struct: bool,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(call(
            if is_named_struct {
                "named_struct"
            } else {
                "struct"
            },
            args,
        )?))
    }

    fn plan_dictionary_literal(
        &self,
        literal: RawDictionaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let args = literal
            .keys
            .into_iter()
            .zip(literal.values)
            .flat_map(|(key, value)| [key, value])
            .collect();
        Ok(PlannerResult::Planned(call("named_struct", args)?))
    }

    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (index, arg) in args.into_iter().enumerate() {
            if index % 2 == 0 {
                keys.push(arg)
            } else {
                values.push(arg)
            }
        }
        let map = call(
            "map",
            vec![call("make_array", keys)?, call("make_array", values)?],
        )?;
        Ok(PlannerResult::Planned(map))
    }

    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let text = |side: &Expr| {
            side.get_type(schema)
                .is_ok_and(|kind| !kind.is_nested() && !kind.is_binary())
        };
        if expression.op == BinaryOperator::StringConcat
            && text(&expression.left)
            && text(&expression.right)
        {
            return Ok(PlannerResult::Planned(
                operator().call(vec![expression.left, expression.right]),
            ));
        }
        Ok(PlannerResult::Original(expression))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ConcatOperator {
    signature: Signature,
}

impl ScalarUDFImpl for ConcatOperator {
    fn name(&self) -> &str {
        CONCAT_OPERATOR
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let sides: Vec<_> = args
            .iter()
            .map(|side| side.schema_name().to_string())
            .collect();
        Ok(sides.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => Err(DataFusionError::Plan("`||` joins two texts".to_owned())),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|side| matches!(side, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let sides = args
            .args
            .iter()
            .map(|side| side.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let [left, right] = sides.as_slice() else {
            return Err(DataFusionError::Internal(
                "`||` was called without two sides".to_owned(),
            ));
        };
        let (left, right) = (left.as_string::<i32>(), right.as_string::<i32>());
        let lengths =
            (0..rows).map(|row| (left.value_length(row) + right.value_length(row)) as u64);
        let (longest, all) = lengths.fold((0, 0), |(longest, all): (u64, u64), length| {
            (longest.max(length), all + length)
        });
        check_growth("||", longest, all)?;
        let joined = concat_elements_utf8(left, right)?;
        if constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &joined as &dyn Array,
                0,
            )?))
        } else {
            Ok(ColumnarValue::Array(Arc::new(joined)))
        }
    }
}
