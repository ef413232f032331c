"""The BOINC wrapper: runs the tasks of a BOINC job inside a VM of VMController.

BOINC's client starts `vmcontroller-boinc` in a slot directory, as it would start its own
`wrapper` or `vboxwrapper`. Here is who knows what:

job, safe_xml, links        what the job file asks for, and where the slot's files really are
init_data, channel,
messages                    what BOINC's client tells and wants to be told, byte by byte
client_link                 the conversation with that client, in a thread
script                      what runs in the guest around a task, and what it leaves there
progress                    what has been done, kept in the slot: any end may be a `kill -9`
looking                     sees what there is to decide on
deciding, failures          the pure middle: what is seen, or has failed → what is to be done next
calling, tasks,
checkpoints, doing          do it, over XML-RPC
orphans                     VMs of jobs that the client has dropped
wrapper, slot, main         the loop, the files that the client wants to find, and the program
"""
