from bench.attack.command import main

main()
