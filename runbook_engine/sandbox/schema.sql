-- LinkFlow's tables, as AutoMigrate leaves them. Indexes come after the data: loading is three times faster that way.
create extension if not exists pg_stat_statements;

create table plans (
    id uuid primary key default gen_random_uuid(), name text not null, price_cents int not null default 0,
    limits jsonb not null default '{}', created_at timestamptz not null default now());

create table users (
    id uuid primary key default gen_random_uuid(), email text not null, password_hash text not null default '',
    first_name text, last_name text, status varchar(20) not null default 'active', mfa_enabled boolean not null default false,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now());

create table workspaces (
    id uuid primary key default gen_random_uuid(), owner_id uuid not null, name text not null, slug text not null,
    plan_id uuid, settings jsonb not null default '{}', created_at timestamptz not null default now());

create table workflows (
    id uuid primary key default gen_random_uuid(), workspace_id uuid not null, created_by uuid not null, name text not null,
    description text, status varchar(20) not null default 'draft', version int not null default 1,
    nodes jsonb not null default '[]', connections jsonb not null default '[]', settings jsonb not null default '{}',
    tags text[], folder_id uuid, error_workflow_id uuid, execution_count int not null default 0,
    last_executed_at timestamptz, activated_at timestamptz, archived_at timestamptz,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now(), deleted_at timestamptz);

create table executions (
    id uuid primary key default gen_random_uuid(), workflow_id uuid not null, workspace_id uuid not null, triggered_by uuid,
    workflow_version int not null default 1, status varchar(20) not null default 'queued',
    trigger_type varchar(20) not null default 'manual', trigger_data jsonb, input_data jsonb, output_data jsonb,
    error_message text, error_node_id varchar(100), queued_at timestamptz default now(), started_at timestamptz,
    completed_at timestamptz, paused_at timestamptz, resumed_at timestamptz, nodes_total int not null default 0,
    nodes_completed int not null default 0, retry_count int not null default 0, max_retries int not null default 3,
    priority int not null default 5, timeout_seconds int not null default 3600, parent_execution_id uuid, batch_id uuid,
    created_at timestamptz not null default now());

create table node_executions (
    id uuid primary key default gen_random_uuid(), execution_id uuid not null, node_id varchar(100) not null,
    node_type varchar(50) not null, node_name text, status varchar(20) not null default 'pending', input_data jsonb,
    output_data jsonb, error_message text, started_at timestamptz, completed_at timestamptz, duration_ms int,
    retry_count int not null default 0, created_at timestamptz not null default now());

create table schedules (
    id uuid primary key default gen_random_uuid(), workflow_id uuid not null, workspace_id uuid not null, created_by uuid not null,
    name varchar(100) not null, cron_expression varchar(100) not null, timezone varchar(50) not null default 'UTC',
    is_active boolean not null default true, input_data jsonb, next_run_at timestamptz, last_run_at timestamptz,
    last_execution_id uuid, run_count int not null default 0, created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(), deleted_at timestamptz);

insert into plans (id, name, price_cents)
select md5('plan-' || n)::uuid, (array['free', 'team', 'business'])[n + 1], n * 4900 from generate_series(0, 2) n;

insert into users (id, email, first_name, last_name)
select md5('user-' || n)::uuid, 'user' || n || '@example.com', 'User', n::text from generate_series(0, 49) n;

insert into workspaces (id, owner_id, name, slug, plan_id)
select md5('workspace-' || n)::uuid, md5('user-' || n)::uuid, 'Workspace ' || n, 'workspace-' || n, md5('plan-' || n % 3)::uuid
from generate_series(0, 19) n;

insert into workflows (id, workspace_id, created_by, name, status, nodes, execution_count)
select md5('workflow-' || n)::uuid, md5('workspace-' || n % 20)::uuid, md5('user-' || n % 50)::uuid, 'Workflow ' || n, 'active',
       '[{"id": "start", "type": "trigger"}, {"id": "call", "type": "http"}]', 750
from generate_series(0, 199) n;

insert into executions (id, workflow_id, workspace_id, status, trigger_type, error_message, queued_at, started_at, completed_at,
                        nodes_total, nodes_completed, created_at)
select md5('execution-' || n)::uuid, md5('workflow-' || n % 200)::uuid, md5('workspace-' || n % 20)::uuid,
       case when n % 250 = 0 then 'failed' else 'completed' end, (array['manual', 'schedule', 'webhook'])[n % 3 + 1],
       case when n % 250 = 0 then 'status code: 503' end, at, at + interval '20 ms', at + interval '220 ms', 2, 2, at
from (select n, now() - interval '1 hour' - n * interval '17 seconds' as at from generate_series(1, 150000) n) filler;

insert into node_executions (execution_id, node_id, node_type, status, started_at, completed_at, duration_ms)
select md5('execution-' || (n / 2 + 1))::uuid, (array['start', 'call'])[n % 2 + 1], (array['trigger', 'http'])[n % 2 + 1],
       'completed', now() - interval '1 hour', now() - interval '1 hour', 90
from generate_series(0, 4999) n;

insert into schedules (id, workflow_id, workspace_id, created_by, name, cron_expression, is_active)
select md5('schedule-' || n)::uuid, md5('workflow-' || n)::uuid, md5('workspace-' || n % 20)::uuid, md5('user-' || n)::uuid,
       'Schedule ' || n,
       case when n % 10 = 0 then (n % 7) || '-59/7 * * * *' when n % 5 = 0 then (n % 60) || ' * * * *'
            else (n % 60) || ' ' || (n % 24) || ' * * *' end,
       n >= 5
from generate_series(0, 49) n;

create unique index idx_users_email on users (email);
create index idx_users_status on users (status);
create unique index idx_workspaces_slug on workspaces (slug);
create index idx_workflows_workspace_id on workflows (workspace_id);
create index idx_workflows_status on workflows (status);
create index idx_workflows_deleted_at on workflows (deleted_at);
create index idx_executions_workflow_id on executions (workflow_id);
create index idx_executions_workspace_id on executions (workspace_id);
create index idx_executions_status on executions (status);
create index idx_executions_priority on executions (priority);
create index idx_executions_batch_id on executions (batch_id);
create index idx_node_executions_execution_id on node_executions (execution_id);
create index idx_node_executions_status on node_executions (status);
create index idx_schedules_workflow_id on schedules (workflow_id);
create index idx_schedules_workspace_id on schedules (workspace_id);
create index idx_schedules_next_run_at on schedules (next_run_at);
create index idx_schedules_deleted_at on schedules (deleted_at);

-- The engine's role: it sees everything, may end sessions, and may change the two things its fixes change.
grant usage on schema public to runbook;
grant select on all tables in schema public to runbook;
grant update (is_active, updated_at) on schedules to runbook;
grant update (status, error_message, completed_at) on executions to runbook;
