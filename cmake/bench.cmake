# tests/bench/NAME.c: a program bench_NAME that measures and prints, no test.
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/bench/*.c")
foreach(source IN LISTS sources)
	cmake_path(GET source STEM name)
	add_executable(bench_${name} "${source}")
	target_link_libraries(bench_${name} PRIVATE culvert_flags culvert_edge culvert_tunnel)
endforeach()
