from bench.load.command import main

main()
