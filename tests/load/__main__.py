from tests.load.command import main

main()
