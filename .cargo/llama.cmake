# CMake reads this file at the end of each project() call in the build of llama.cpp (CMAKE_PROJECT_INCLUDE in config.toml).
#
# llama-cpp-2 switches on the feature `common` of llama-cpp-sys-2 and offers no way to switch it off. The feature builds
# llama.cpp's chat templates, command line parser, downloader and HTTP server. lmfs calls none of them, and they are more
# than half of the C++ to compile.
if(PROJECT_NAME STREQUAL "llama.cpp")
  set(LLAMA_BUILD_COMMON OFF CACHE BOOL "lmfs does not use it" FORCE)
endif()
