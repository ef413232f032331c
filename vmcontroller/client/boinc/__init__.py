"""The BOINC wrapper: runs the tasks of a BOINC job inside a VM of VMController.

BOINC's client starts `vmcontroller-boinc` in a slot directory, as it would start its own
`wrapper` or `vboxwrapper`. Here is who knows what:

job, safe_xml, links        what the job file asks for, and where the slot's files really are
init_data, channel,
messages, files             what BOINC's client tells and wants to be told, byte by byte
client_link                 the conversation with that client, in a thread
script                      what runs in the guest around a task, and what it leaves there
progress                    what has been done, kept in the slot: any end may be a `kill -9`
looking, deciding           the pure middle: what is seen → what is to be done next
failures                    which failures are worth another try, and which are the end
doing, copying              does it, over XML-RPC
wrapper, main               the loop, and the program
"""
