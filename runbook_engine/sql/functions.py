"""The functions that a diagnosis may call in SQL: those known to change nothing outside the query.

A list of what is allowed, never of what is forbidden: a function nobody has judged is not called.
"""

from __future__ import annotations

from ..executor import Effect

_AGGREGATES = """
any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg
json_agg_strict json_object_agg json_object_agg_strict json_object_agg_unique jsonb_agg jsonb_agg_strict
jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique max min mode percentile_cont percentile_disc
range_agg range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg
"""
_WINDOWS = "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
_MATHS = """
abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd degrees
div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 min_scale mod pi pow power radians random
random_normal round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc width_bucket bit_count bernoulli
system
"""
_TEXT = """
ascii bit_length btrim casefold char_length character_length chr concat concat_ws convert convert_from convert_to
crc32 crc32c decode encode format get_bit get_byte initcap is_normalized left length like like_escape lower lpad ltrim
md5 normalize notlike octet_length overlay parse_ident position quote_ident quote_literal quote_nullable regexp_count
regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table
regexp_substr repeat replace reverse right rpad rtrim set_bit set_byte sha224 sha256 sha384 sha512 similar_to_escape
split_part starts_with string_to_array string_to_table strpos substr substring text to_ascii to_char to_bin to_hex
to_number to_oct translate unistr upper
"""
_TIMES = """
age clock_timestamp date date_add date_bin date_part date_subtract date_trunc isfinite justify_days justify_hours
justify_interval make_date make_interval make_time make_timestamp make_timestamptz now overlaps statement_timestamp
timeofday timestamptz timetz to_date to_timestamp transaction_timestamp
"""
_JSON = """
array_to_json json_array_element json_array_element_text json_array_elements json_array_elements_text
json_array_length json_build_array json_build_object json_each json_each_text json_extract_path json_extract_path_text
json_object json_object_keys json_populate_record json_populate_recordset json_strip_nulls json_to_record
json_to_recordset json_typeof jsonb_array_element jsonb_array_element_text jsonb_array_elements
jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_contained jsonb_contains
jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text
jsonb_insert jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz jsonb_path_match
jsonb_path_match_tz jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first
jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set
jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb
"""
_ARRAYS_AND_RANGES = """
array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
array_prepend array_remove array_replace array_reverse array_sort array_to_string array_upper cardinality
generate_series generate_subscripts trim_array unnest daterange int4range int8range isempty lower_inc lower_inf
multirange numrange range_merge tsrange tstzrange upper_inc upper_inf
"""
_TYPES = """
bool box bpchar bytea cidr float4 float8 int2 int4 int8 lseg macaddr money name oid path pg_lsn point regclass abbrev
broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen gen_random_uuid
uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 num_nonnulls num_nulls pg_typeof pg_basetype numnode
phraseto_tsquery plainto_tsquery querytree setweight strip to_tsquery to_tsvector ts_delete ts_filter ts_headline
ts_rank ts_rank_cd websearch_to_tsquery xml_is_well_formed xpath xpath_exists
"""
_SESSION = """
current_database current_query current_schemas current_setting inet_client_addr inet_client_port inet_server_addr
inet_server_port pg_backend_pid pg_client_encoding pg_conf_load_time pg_current_logfile pg_is_other_temp_schema
pg_jit_available pg_listening_channels pg_my_temp_schema pg_notification_queue_usage pg_postmaster_start_time
pg_trigger_depth row_security_active version
"""
_CATALOG = """
acldefault aclexplode col_description format_type getdatabaseencoding makeaclitem obj_description
pg_available_extension_versions pg_available_extensions pg_char_to_encoding pg_collation_actual_version
pg_collation_is_visible pg_column_compression pg_column_size pg_column_toast_chunk_id pg_conversion_is_visible
pg_database_collation_actual_version pg_database_size pg_describe_object pg_encoding_to_char pg_filenode_relation
pg_function_is_visible pg_get_acl pg_get_catalog_foreign_keys pg_get_constraintdef pg_get_expr
pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result
pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_object_address pg_get_partition_constraintdef
pg_get_partkeydef pg_get_publication_tables pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence
pg_get_statisticsobjdef pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_identify_object
pg_identify_object_as_address pg_index_column_has_property pg_index_has_property pg_indexam_has_property
pg_indexam_progress_phasename pg_indexes_size pg_input_error_info pg_input_is_valid pg_mcv_list_items
pg_opclass_is_visible pg_operator_is_visible pg_options_to_table pg_partition_ancestors pg_partition_root
pg_partition_tree pg_relation_filenode pg_relation_filepath pg_relation_is_publishable pg_relation_is_updatable
pg_relation_size pg_sequence_last_value pg_sequence_parameters pg_settings_get_flags pg_size_bytes pg_size_pretty
pg_statistics_obj_is_visible pg_table_is_visible pg_table_size pg_tablespace_databases pg_tablespace_location
pg_tablespace_size pg_timezone_abbrevs pg_timezone_names pg_total_relation_size pg_ts_config_is_visible
pg_type_is_visible shobj_description to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc
to_regprocedure to_regrole to_regtype to_regtypemod has_any_column_privilege has_column_privilege
has_database_privilege has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege
has_largeobject_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege
has_table_privilege has_tablespace_privilege has_type_privilege
"""
_ACTIVITY = """
pg_blocking_pids pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_cursor pg_get_aios
pg_get_backend_memory_contexts pg_get_replication_slots pg_get_shmem_allocations pg_get_wait_events
pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_lock_status
pg_prepared_statement pg_prepared_xact pg_safe_snapshot_blocking_pids pg_show_all_settings pg_show_all_file_settings
pg_hba_file_rules pg_ident_file_mappings pg_show_replication_origin_status pg_stat_have_stats pg_stat_statements
pg_stat_statements_info
"""
_REPLICATION_AND_TRANSACTIONS = """
pg_current_snapshot pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn
pg_current_xact_id_if_assigned pg_is_in_recovery pg_is_wal_replay_paused pg_last_committed_xact
pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_snapshot_xip pg_snapshot_xmax
pg_snapshot_xmin pg_split_walfile_name pg_visible_in_snapshot pg_wal_lsn_diff pg_walfile_name pg_walfile_name_offset
pg_xact_commit_timestamp pg_xact_status txid_current_if_assigned txid_current_snapshot txid_snapshot_xip
txid_snapshot_xmax txid_snapshot_xmin txid_status txid_visible_in_snapshot mxid_age
"""
_COUNTERS = """
activity analyze_count archiver autoanalyze_count autovacuum_count backend_activity backend_activity_start
backend_client_addr backend_client_port backend_dbid backend_idset backend_io backend_pid backend_start
backend_subxact backend_userid backend_wait_event backend_wait_event_type backend_wal backend_xact_start
bgwriter_buf_written_checkpoints bgwriter_buf_written_clean bgwriter_maxwritten_clean bgwriter_requested_checkpoints
bgwriter_stat_reset_time bgwriter_timed_checkpoints blocks_fetched blocks_hit buf_alloc buf_fsync_backend
buf_written_backend checkpoint_sync_time checkpoint_write_time checkpointer_buffers_written checkpointer_num_performed
checkpointer_num_requested checkpointer_num_timed checkpointer_restartpoints_performed
checkpointer_restartpoints_requested checkpointer_restartpoints_timed checkpointer_slru_written
checkpointer_stat_reset_time checkpointer_sync_time checkpointer_write_time db_active_time db_blk_read_time
db_blk_write_time db_blocks_fetched db_blocks_hit db_checksum_failures db_checksum_last_failure db_conflict_all
db_conflict_bufferpin db_conflict_lock db_conflict_logicalslot db_conflict_snapshot db_conflict_startup_deadlock
db_conflict_tablespace db_deadlocks db_idle_in_transaction_time db_numbackends db_parallel_workers_launched
db_parallel_workers_to_launch db_session_time db_sessions db_sessions_abandoned db_sessions_fatal db_sessions_killed
db_stat_reset_time db_temp_bytes db_temp_files db_tuples_deleted db_tuples_fetched db_tuples_inserted
db_tuples_returned db_tuples_updated db_xact_commit db_xact_rollback dead_tuples function_calls function_self_time
function_total_time ins_since_vacuum io last_analyze_time last_autoanalyze_time last_autovacuum_time last_vacuum_time
lastscan live_tuples mod_since_analyze numscans progress_info recovery_prefetch replication_slot slru
snapshot_timestamp subscription subscription_stats total_analyze_time total_autoanalyze_time total_autovacuum_time
total_vacuum_time tuples_deleted tuples_fetched tuples_hot_updated tuples_inserted tuples_newpage_updated
tuples_returned tuples_updated vacuum_count wal wal_receiver wal_senders xact_blocks_fetched xact_blocks_hit
xact_function_calls xact_function_self_time xact_function_total_time xact_numscans xact_tuples_deleted
xact_tuples_fetched xact_tuples_hot_updated xact_tuples_inserted xact_tuples_newpage_updated xact_tuples_returned
xact_tuples_updated
"""

READING = frozenset(
    " ".join(
        (
            _AGGREGATES,
            _WINDOWS,
            _MATHS,
            _TEXT,
            _TIMES,
            _JSON,
            _ARRAYS_AND_RANGES,
            _TYPES,
            _SESSION,
            _CATALOG,
            _ACTIVITY,
            _REPLICATION_AND_TRANSACTIONS,
        )
    ).split()
)
# The server's counters, one function each, of PostgreSQL 13 to 18.
COUNTERS = frozenset(f"pg_stat_get_{name}" for name in _COUNTERS.split())
# The one extension whose functions a diagnosis knows; it may live in any schema. A read session asks whether they are
# the extension's.
ANY_SCHEMA = frozenset({"pg_stat_statements", "pg_stat_statements_info"})

# What a known writer does at least. It outlasts a rollback unless it is in ROLLED_BACK.
ACTING = {
    "nextval": Effect.reversible,
    "pg_create_restore_point": Effect.reversible,
    "pg_notify": Effect.reversible,
    "pg_reload_conf": Effect.reversible,
    "pg_wal_replay_pause": Effect.reversible,
    "pg_wal_replay_resume": Effect.reversible,
    "set_config": Effect.reversible,
    "setval": Effect.reversible,
    "pg_cancel_backend": Effect.disruptive,
    "pg_terminate_backend": Effect.disruptive,
    "dblink_exec": Effect.disruptive,
    "lo_unlink": Effect.destructive,
    "pg_drop_replication_slot": Effect.destructive,
    "pg_stat_reset": Effect.destructive,
    "pg_stat_reset_shared": Effect.destructive,
    "pg_stat_statements_reset": Effect.destructive,
}
ROLLED_BACK = frozenset({"pg_notify", "set_config", "lo_unlink"})


def reads(name: str, schema: str | None) -> bool:
    """Whether calling it changes nothing. A schema of one's own may hold anything under a familiar name."""
    if name in ANY_SCHEMA:
        return True
    return schema in (None, "pg_catalog") and (name in READING or name in COUNTERS)
