//! Functions of the catalog whose answer is always the same, because there is nothing of the kind here.

/// Functions whose answer is null: there is nothing of the kind.
pub(super) const NULLS: &[&str] = &[
    "pg_collation_for",
    "pg_get_function_sqlbody",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_get_partition_constraintdef",
    "pg_get_statisticsobjdef",
    "pg_tablespace_location",
    "pg_get_function_arg_default",
    "pg_relation_filepath",
    "shobj_description",
];

/// Functions whose answer is true.
pub(super) const TRUES: &[&str] = &[
    "has_foreign_data_wrapper_privilege",
    "has_language_privilege",
    "has_server_privilege",
    "has_tablespace_privilege",
    "has_function_privilege",
    "has_parameter_privilege",
    "has_type_privilege",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
];

/// Functions whose answer is zero bytes: what a view holds is in `thalweg.materialized_views`.
pub(super) const SIZES: &[&str] = &[
    "pg_database_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_tablespace_size",
];

/// Functions whose answer is false.
pub(super) const FALSES: &[&str] =
    &["pg_is_in_recovery", "pg_jit_available", "pg_relation_is_publishable", "row_security_active"];
