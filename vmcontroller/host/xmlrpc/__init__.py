"""The XML-RPC door: one table of methods, and what turns a call into an answer or a Fault."""
