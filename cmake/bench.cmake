# tests/bench/NAME.c: a program bench_NAME that measures and prints, no test.
file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/bench/*.c")
foreach(source IN LISTS sources)
	cmake_path(GET source STEM name)
	add_executable(bench_${name} "${source}")
	target_link_libraries(bench_${name} PRIVATE culvert_flags culvert_edge culvert_tunnel)
endforeach()
# It makes its objects as the unit tests make theirs.
target_sources(bench_kube PRIVATE "${CMAKE_SOURCE_DIR}/tests/unit/kube/encode.c")
target_include_directories(bench_kube PRIVATE "${CMAKE_SOURCE_DIR}/tests")
target_link_libraries(bench_kube PRIVATE culvert_kube)
# Two workers in one process, as the unit tests build them.
target_include_directories(bench_review PRIVATE "${CMAKE_SOURCE_DIR}/tests")
target_link_libraries(bench_review PRIVATE helpers_unit_tunnel helpers_unit culvert_tunnel)
