"""`python -m vmcontroller.client.boinc`."""

from vmcontroller.client.boinc.main import main

main()
