//! What is promised in writing, held against the code: OpenAPI, budgets, permissions, metrics, the templates.

mod at_the_edge;
mod budgets;
mod circles;
mod evidence;
mod http_contract;
mod least_privilege;
mod metrics;
mod names;
mod one_truth;
mod openapi;
mod operator_pages;
mod pinned_tools;
mod watching;
