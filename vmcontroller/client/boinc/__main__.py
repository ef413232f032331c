"""`python -m vmcontroller.client.boinc`."""

from vmcontroller.client.boinc.main import main

if __name__ == "__main__":
    main()
