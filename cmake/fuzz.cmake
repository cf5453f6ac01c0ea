# tests/fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput; its corpus lies in tests/fuzz/corpus/NAME/.
# With CULVERT_FUZZ it becomes a fuzzer, else a program that replays the corpus (ctest label fuzz).
# The target fuzzers is all of them.
add_custom_target(fuzzers)
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(source IN LISTS sources)
	cmake_path(GET source STEM target)
	string(REGEX REPLACE "^fuzz_" "" name "${target}")
	add_executable(${target} "${source}")
	target_link_libraries(${target} PRIVATE culvert_flags culvert_status culvert_edge culvert_tunnel culvert_kube)
	add_dependencies(fuzzers ${target})
	if(CULVERT_FUZZ)
		target_link_options(${target} PRIVATE -fsanitize=fuzzer)
		continue()
	endif()
	target_sources(${target} PRIVATE "${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c")
	add_test(NAME ${target} COMMAND ${target} "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name}")
	set_tests_properties(${target} PROPERTIES LABELS fuzz TIMEOUT 120)
endforeach()
